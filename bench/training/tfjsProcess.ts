/** The process of training/tfjs.ts: one argument, the job as JSON; prints the answer as JSON. */
import * as tf from '@tensorflow/tfjs';
import { getThreadsCount } from '@tensorflow/tfjs-backend-wasm';
import type { BuiltModel, Workload } from '../models/workload.js';
import { workloadByName } from '../models/workloads.js';
import type { TfjsAnswer, TfjsJob } from './tfjs.js';

const { workload: name, maxStepSeconds, seconds }: TfjsJob = JSON.parse(process.argv[2] ?? '{}');
const workload = workloadByName(name);

/** One optimizer step; its loss. */
async function step({ model, optimizer }: BuiltModel, size: number, index: number): Promise<number> {
  const tensors = Object.fromEntries(
    [...workload.batch(size, index).fields].map(([field, data], i) => {
      const { shape = [], dtype = 'float32' } = workload.fields[i] ?? {};
      return [field, tf.tensor(data, [size, ...shape], dtype)];
    }),
  );
  try {
    if (model instanceof tf.LayersModel) {
      const [x, y] = Object.values(tensors) as [tf.Tensor, tf.Tensor];
      const result = await model.trainOnBatch(x, y);
      return Number(Array.isArray(result) ? result[0] : result);
    }
    const loss = optimizer.minimize(() => model.loss(tensors, { training: true }) as tf.Scalar, true);
    const value = loss?.dataSync()[0] ?? Number.NaN;
    loss?.dispose();
    return value;
  } finally {
    tf.dispose(tensors);
  }
}

/** FLOP/s of a product on this backend, which says how many samples a step can afford. */
function matmulRate(): number {
  const size = 256;
  const a = tf.ones<tf.Rank.R2>([size, size]);
  tf.matMul(a, a).dataSync();
  const began = performance.now();
  tf.tidy(() => tf.matMul(a, a, false, true).dataSync());
  a.dispose();
  return (2 * size ** 3) / ((performance.now() - began) / 1000);
}

async function train(one: Workload): Promise<TfjsAnswer> {
  await tf.setBackend('wasm');
  const rate = matmulRate();
  const built = one.build();
  const perSample = one.flopsPerUnit(built.model) * one.unitsPerSample;
  await tf.setBackend('wasm');
  const affordable = Math.floor((maxStepSeconds * rate) / perSample);
  if (affordable < 1 && perSample / rate > 4 * maxStepSeconds) {
    return { skipped: `a step of one sample would take about ${(perSample / rate).toFixed(0)} s` };
  }
  const batchSize = Math.max(1, Math.min(one.batchSize, affordable));
  const before = process.resourceUsage().maxRSS;
  const times: number[] = [];
  let loss = Number.NaN;
  const deadline = performance.now() + seconds * 1000;
  while (times.length < 2 || performance.now() < deadline) {
    const began = performance.now();
    loss = await step(built, batchSize, times.length);
    times.push((performance.now() - began) / 1000);
  }
  const residentBytes = (process.resourceUsage().maxRSS - before) * 1024;
  return {
    stepSeconds: Math.min(...times.slice(1)),
    batchSize,
    loss,
    residentBytes,
    numThreads: Math.max(1, getThreadsCount()),
  };
}

process.stdout.write(`${JSON.stringify(await train(workload))}\n`);
process.exit(0);
