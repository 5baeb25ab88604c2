/**
 * Where an engine's step goes, kernel by kernel: a benchmark's model on one rank in this process, no worker, no network.
 * CLIP and MICRO in the environment: the norm to clip to, the number of micro-batches.
 * Run: node --import tsx bench/engine.ts [workload=gpt10m] [threads=1] [steps=10] [precision=f32]
 */
import * as tf from '@tensorflow/tfjs';
import { optimizeGraph } from '../src/graph/passes/optimize.js';
import { ensureKernels } from '../src/kernels/register.js';
import { buildPlan } from '../src/planner/buildPlan.js';
import { loadAddon } from '../src/runtime/native/addon.js';
import { NativeDevice } from '../src/runtime/native/device.js';
import { traceModel } from '../src/trace/trace.js';
import { workloadByName } from './models/workloads.js';

const [name = 'gpt10m', ...numbers] = process.argv.slice(2, 5);
const [threads = 1, numSteps = 10] = numbers.map(Number);
const workload = workloadByName(name);
const { batchSize, unit, unitsPerSample } = workload;
const numMicroBatches = Number(process.env.MICRO ?? 1);
const microBatchSize = batchSize / numMicroBatches;

await tf.setBackend('cpu');
ensureKernels('cpu');
const { model } = workload.build();
const trace = traceModel(model, 'train', workload.fields, microBatchSize);
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

const best = new Map<string, number>();
let runs: Readonly<Record<string, { seconds: number; numRuns: number }>> = {};
let fastest = Number.POSITIVE_INFINITY;
let loss = Number.NaN;
for (let step = 0; step <= numSteps; step++) {
  const inputs = new Map(workload.batch(batchSize, step).fields);
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
const numUnits = batchSize * unitsPerSample;
const flops = workload.flopsPerUnit(model) * numUnits;
const addon = loadAddon();
addon.setThreads(threads);
const size = 2048;
const limit =
  (2 * size ** 3) / addon.matmulSeconds({ rows: size, inner: size, columns: size, dtype: 'f32', repeat: 5 });
console.log(
  `fastest step ${(fastest * 1e3).toFixed(1)} ms, ${(numUnits / fastest).toFixed(0)} ${unit}/s, ${(flops / fastest / 1e9).toFixed(0)} GFLOP/s of ${(limit / 1e9).toFixed(0)} (${((flops / fastest / limit) * 100).toFixed(0)} %), loss ${loss.toFixed(4)}`,
);
let sum = 0;
for (const [kernel, seconds] of [...best].sort((a, b) => b[1] - a[1])) {
  sum += seconds;
  console.log(
    `${kernel.padEnd(32)} ${String((runs[kernel]?.numRuns ?? 0) / (numSteps + 1)).padStart(4)} x ${(seconds * 1e3).toFixed(2).padStart(8)} ms`,
  );
}
console.log(`${'everything else'.padEnd(37)} ${((fastest - sum) * 1e3).toFixed(2).padStart(8)} ms`);
