// The script that startup.ts launches: a GPT of 10 M parameters, two steps. Tells on standard output what it reached when.
import * as tf from '@tensorflow/tfjs';
import * as merak from 'merak';

const imported = Date.now();
const contextLength = 256;
const size = { vocabularySize: 256, contextLength, numLayers: 6, numHeads: 6, hiddenSize: 384 };
const model = merak.models.gpt({ ...size, seed: 1 });
const built = Date.now();
const parallel = await merak.wrap(model, { optimizer: tf.train.adam(1e-3, 0.9, 0.95), device: 'native' });
const bytes = Uint8Array.from({ length: 1 << 16 }, (_, i) => (i * 31 + ((i * i) >> 5)) & 255);
const steps = [];
await parallel.fitDataset(merak.data.tokenWindows(bytes, { contextLength, batchSize: 8, numBatches: 2, seed: 1 }), {
  verbose: 0,
  callbacks: { onBatchEnd: () => steps.push(Date.now()) },
});
const measures = performance.getEntriesByType('measure').filter(({ name }) => name.startsWith('merak: '));
console.log(
  JSON.stringify({
    // Of this process, on the clock that Date.now() reads.
    born: performance.timeOrigin,
    imported,
    built,
    steps,
    parts: measures.map(({ name, startTime, duration }) => ({ name: name.slice(7), startTime, duration })),
  }),
);
await parallel.close();
