/**
 * A byte-level GPT of about 10 M parameters learns Moby Dick.
 *
 *   npm run quickstart                                       # eight workers, layout chosen by Merak
 *   npx merak launch examples/gpt/train.ts --dp 2            # any other layout
 *   npx merak plan   examples/gpt/train.ts --dp 2 --pp 4     # what would run where
 *   npx tsx examples/gpt/train.ts                            # one process, same script
 *
 * Arguments after the script: --seconds 90 --steps 400 --checkpoint runs/moby-dick --context 128 --rate 1.5e-3
 */
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import * as merak from 'merak';
import { ngramLoss } from './ngrams.js';
import { sampleText } from './sample.js';
import { loadMobyDick } from './text.js';

const { values: args } = parseArgs({
  options: {
    steps: { type: 'string', default: '400' },
    seconds: { type: 'string', default: '90' },
    batch: { type: 'string', default: '8' },
    context: { type: 'string', default: '128' },
    rate: { type: 'string', default: '1.5e-3' },
    checkpoint: { type: 'string', default: 'runs/moby-dick' },
  },
});
const numSteps = Number(args.steps);
const batchSize = Number(args.batch);
const contextLength = Number(args.context);
const peakLearningRate = Number(args.rate);

const text = loadMobyDick();
const model = merak.models.gpt({
  vocabularySize: 256,
  contextLength,
  numLayers: 6,
  numHeads: 6,
  hiddenSize: 384,
  seed: 1,
});
const parallel = await merak.wrap(model, {
  optimizer: tf.train.adam(peakLearningRate, 0.9, 0.95),
  clipNorm: 1,
  weightDecay: 0.1,
});

// Whichever limit comes first ends the run: the time budget lowers the learning rate on fast and slow machines alike.
const started = performance.now();
const progress = (step: number) =>
  Math.min(1, Math.max(step / numSteps, (performance.now() - started) / 1000 / Number(args.seconds)));
const warmUp = 20;
await parallel.fitDataset(
  merak.data.tokenWindows(text.train, { contextLength, batchSize, numBatches: numSteps, seed: 1 }),
  {
    epochs: 1,
    learningRate: (step) => peakLearningRate * Math.min(1, (step + 1) / warmUp) * (0.05 + 0.95 * (1 - progress(step))),
    stopWhen: (step) => progress(step) >= 1,
  },
);

const held = merak.data.tokenWindows(text.validation, { contextLength, batchSize, numBatches: 12, seed: 2 });
const loss = ((await parallel.evaluateDataset(held)) as tf.Scalar).dataSync()[0];
const rows = [
  ...[1, 2, 3].map(
    (n) => [['unigram', 'bigram', 'trigram'][n - 1]!, ngramLoss(text.train, text.validation, n)] as const,
  ),
  ['this GPT', loss!] as const,
];
console.log('\nheld-out text, nats per byte (n-grams counted on the same training text):');
for (const [name, value] of rows)
  console.log(`  ${name.padEnd(9)} ${value.toFixed(3)} ${'#'.repeat(Math.round(value * 16))}`);

await parallel.checkpoint(args.checkpoint);
console.log(`\ncheckpoint saved in ${args.checkpoint}; a sample:\n`);
console.log(await sampleText(parallel, 'Call me Ishmael. ', { length: 160, contextLength, temperature: 0.8, seed: 3 }));
await parallel.close();
