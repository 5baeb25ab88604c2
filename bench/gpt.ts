/** Training speed of the examples/gpt model: Merak beside plain tfjs. Run alone: node --import tsx bench/gpt.ts */
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { getThreadsCount } from '@tensorflow/tfjs-backend-wasm';
import * as merak from '../src/index.js';
import { loadAddon } from '../src/runtime/native/addon.js';
import {
  batchSize,
  contextLength,
  FLOPS_CONVENTION,
  flopsPerToken,
  makeModel,
  makeOptimizer,
  type Timed,
  windows,
} from './gptModel.js';
import { timePlain, timeTuned } from './plainTfjs.js';
import { renderTable, type Table } from './table.js';

export interface GptRun {
  readonly name: string;
  readonly numThreads: number;
  readonly tokensPerSecond: number;
  readonly stepSeconds: number;
  /** By FLOPS_CONVENTION. */
  readonly modelFlopsPerSecond: number;
  /** Of oneDNN's f32 matmul rate with as many threads. */
  readonly ratioToMatmul: number;
  /** Mean loss of the last steps timed: the runs train the same thing. */
  readonly loss: number;
}

export interface GptOptions {
  /** Merak: steps timed at a time; the fastest of `numRounds` counts. */
  readonly numSteps: number;
  readonly numRounds: number;
  /** tfjs: steps timed; the fastest counts. */
  readonly numPlainSteps: number;
  /** oneDNN's f32 rate. */
  matmulFlopsPerSecond(numThreads: number): number;
}

const tokensPerStep = batchSize * contextLength;

/** Through the public API, start to end of an epoch, no callbacks inside it; the first epoch warms up. */
async function timeMerak(options: merak.WrapOptions, { numSteps, numRounds }: GptOptions): Promise<Timed> {
  await tf.setBackend('cpu');
  const model = makeModel();
  const parallel = await merak.wrap(model, { optimizer: makeOptimizer(), device: 'native', ...options });
  const seconds: number[] = [];
  let began = 0;
  const callbacks = {
    onEpochBegin: async () => {
      began = performance.now();
    },
    onEpochEnd: async () => void seconds.push((performance.now() - began) / 1000),
  };
  try {
    const { history } = await parallel.fitDataset(windows(numSteps), { epochs: numRounds + 1, verbose: 0, callbacks });
    return {
      stepSeconds: Math.min(...seconds.slice(1)) / numSteps,
      loss: Number(history.loss?.at(-1)),
      flopsPerToken: flopsPerToken(model),
    };
  } finally {
    await parallel.close();
    model.dispose();
  }
}

export async function measureGpt(options: GptOptions): Promise<GptRun[]> {
  const runs: GptRun[] = [];
  const add = (name: string, numThreads: number, timed: Timed): void => {
    const tokensPerSecond = tokensPerStep / timed.stepSeconds;
    const modelFlopsPerSecond = tokensPerSecond * timed.flopsPerToken;
    const ratioToMatmul = modelFlopsPerSecond / options.matmulFlopsPerSecond(numThreads);
    const { stepSeconds, loss } = timed;
    runs.push({ name, numThreads, tokensPerSecond, stepSeconds, modelFlopsPerSecond, ratioToMatmul, loss });
  };
  const plain = await timePlain(options.numPlainSteps);
  // Known only once the backend runs.
  const numPlainThreads = Math.max(1, getThreadsCount());
  add('plain tfjs, WASM', numPlainThreads, plain);
  add('tuned tfjs, WASM', numPlainThreads, await timeTuned(options.numPlainSteps));
  add('Merak, 1 worker', 1, await timeMerak({ dp: 1, threadsPerWorker: 1 }, options));
  add('Merak, 1 worker', 2, await timeMerak({ dp: 1, threadsPerWorker: 2 }, options));
  add('Merak, 2 workers (dp2)', 2, await timeMerak({ dp: 2, threadsPerWorker: 1 }, options));
  return runs;
}

export function gptTable(runs: readonly GptRun[]): Table {
  const [plain = Number.NaN, tuned = Number.NaN] = runs.map((run) => run.tokensPerSecond);
  return {
    title: 'Training the GPT of examples/gpt (6 layers, hidden 384, context 128, vocabulary 256, batch 8, Adam, f32)',
    columns: ['run', 'threads', 'tokens/s', 'x plain', 'x tuned', 'ms/step', 'GFLOP/s', 'of matmul', 'loss'],
    rows: runs.map((run) => [
      run.name,
      String(run.numThreads),
      run.tokensPerSecond.toFixed(0),
      (run.tokensPerSecond / plain).toFixed(1),
      (run.tokensPerSecond / tuned).toFixed(1),
      (run.stepSeconds * 1000).toFixed(0),
      (run.modelFlopsPerSecond / 1e9).toFixed(0),
      `${(run.ratioToMatmul * 100).toFixed(0)} %`,
      run.loss.toFixed(3),
    ]),
    notes: [
      `GFLOP/s of the model: ${FLOPS_CONVENTION}. "of matmul": their ratio to oneDNN's f32 matmul with as many threads, measured in this run.`,
      'Merak: wrap and fitDataset, wall clock of whole epochs, data and optimizer included; the fastest round after one to warm up. The loss is the mean of the last round.',
      "Plain tfjs: the same model through Merak's reference composites of tfjs operations (2-D matMul, softmax, gather, ...), optimizer.minimize in a loop; the fastest step, its last loss.",
      "Tuned tfjs: with a gradient of matMul that transposes before it multiplies. The WASM backend's kernel for transposed products, which tfjs's own gradient asks for, is some ten times slower than its plain one.",
    ],
  };
}

/** oneDNN's f32 rate by number of threads, measured now. */
function measuredRate(numThreads: number): number {
  const addon = loadAddon();
  addon.setThreads(numThreads);
  const size = 2048;
  return (2 * size ** 3) / addon.matmulSeconds({ rows: size, inner: size, columns: size, dtype: 'f32', repeat: 10 });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const runs = await measureGpt({ numSteps: 10, numRounds: 3, numPlainSteps: 2, matmulFlopsPerSecond: measuredRate });
  console.log(renderTable(gptTable(runs)));
}
