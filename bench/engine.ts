/**
 * Where an engine's step goes, kernel by kernel: the GPT of bench/models/gpt.ts on one rank in this process, no worker, no network.
 * CLIP and MICRO in the environment: the norm to clip to, the number of micro-batches.
 * Run: node --import tsx bench/engine.ts [threads=1] [steps=10] [context=128] [precision=f32]
 */
import * as tf from '@tensorflow/tfjs';
import { optimizeGraph } from '../src/graph/passes/optimize.js';
import { ensureKernels } from '../src/kernels/register.js';
import { gpt } from '../src/models/gpt.js';
import { buildPlan } from '../src/planner/buildPlan.js';
import { loadAddon } from '../src/runtime/native/addon.js';
import { NativeDevice } from '../src/runtime/native/device.js';
import { traceModel } from '../src/trace/trace.js';

const [threads = 1, numSteps = 10, contextLength = 128] = process.argv.slice(2, 5).map(Number);
const numMicroBatches = Number(process.env.MICRO ?? 1);
const microBatchSize = 8 / numMicroBatches;
const [numLayers, hiddenSize] = [6, 384];

await tf.setBackend('cpu');
ensureKernels('cpu');
const model = gpt({ vocabularySize: 256, contextLength, numLayers, numHeads: 6, hiddenSize, seed: 1 });
const fields = (['tokens', 'targets'] as const).map((name) => ({
  name,
  shape: [contextLength],
  dtype: 'int32' as const,
}));
const trace = traceModel(model, 'train', fields, microBatchSize);
const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 } as const;
const precision = process.argv[5] === 'bf16' ? 'bf16' : 'f32';
const clipNorm = Number(process.env.CLIP ?? 0);
const plan = buildPlan({
  train: optimizeGraph(trace.graph),
  optimizer,
  clipNorm,
  precision,
  seed: 1,
  microBatchSize,
  numMicroBatches,
  mesh: { dp: 1, tp: 1, pp: 1 },
});
const device = new NativeDevice({ threads });
const rank = plan.ranks[0];
const executable = rank?.executables[0];
if (rank === undefined || executable === undefined) throw new Error('the plan has no rank');
await device.open(rank);
await device.load(executable);
for (const [index, { name }] of rank.parameters.entries()) {
  const variable = trace.graph.parameters.findIndex((parameter) => parameter.name === name);
  await device.write(index, 'value', trace.variables[variable]?.dataSync() as Float32Array);
}

const length = numMicroBatches * microBatchSize * contextLength;
const best = new Map<string, number>();
let runs: Readonly<Record<string, { seconds: number; numRuns: number }>> = {};
let fastest = Number.POSITIVE_INFINITY;
let loss = Number.NaN;
for (let step = 0; step <= numSteps; step++) {
  const stream = Int32Array.from({ length: length + 1 }, (_, i) => (i * 31 + step * 7 + ((i * i) >> 5)) & 255);
  const inputs = new Map([
    ['tokens', stream.slice(0, -1)],
    ['targets', stream.slice(1)],
  ]);
  const result = await device.run('train', { step, seed: 1, learningRate: 1e-3, timeoutSeconds: 100, inputs });
  const now = await device.kernelTimes();
  if (step > 0) {
    fastest = Math.min(fastest, result.seconds);
    for (const [kernel, { seconds }] of Object.entries(now)) {
      best.set(kernel, Math.min(best.get(kernel) ?? Number.POSITIVE_INFINITY, seconds - (runs[kernel]?.seconds ?? 0)));
    }
  }
  runs = now;
  loss = result.metrics.loss ?? Number.NaN;
}
device.close();
const numParameters = model.variables.reduce((sum, variable) => sum + variable.size, 0);
const flops = (6 * numParameters + 12 * numLayers * hiddenSize * contextLength) * length;
const addon = loadAddon();
addon.setThreads(threads);
const size = 2048;
const limit =
  (2 * size ** 3) / addon.matmulSeconds({ rows: size, inner: size, columns: size, dtype: 'f32', repeat: 5 });
console.log(
  `fastest step ${(fastest * 1e3).toFixed(1)} ms, ${(flops / fastest / 1e9).toFixed(0)} GFLOP/s of ${(limit / 1e9).toFixed(0)} (${((flops / fastest / limit) * 100).toFixed(0)} %), loss ${loss.toFixed(4)}`,
);
let sum = 0;
for (const [kernel, seconds] of [...best].sort((a, b) => b[1] - a[1])) {
  sum += seconds;
  console.log(
    `${kernel.padEnd(32)} ${String((runs[kernel]?.numRuns ?? 0) / (numSteps + 1)).padStart(4)} x ${(seconds * 1e3).toFixed(2).padStart(8)} ms`,
  );
}
console.log(`${'everything else'.padEnd(37)} ${((fastest - sum) * 1e3).toFixed(2).padStart(8)} ms`);
