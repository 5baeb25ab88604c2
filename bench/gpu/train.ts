/**
 * Merak's side of `npm run gpu`: training steps of a GPT through the public API, in this process. One argument, the job as JSON; prints
 * a JSON line: losses of the first steps, seconds of a step (median), tokens per second, memory.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import type { ReportData } from '../../src/api/report.js';
import type { BatchSource } from '../../src/data/source.js';
import * as merak from '../../src/index.js';
import { noise } from '../models/workload.js';

interface Job {
  /** An option of merak.wrap: 'cuda', or 'native' where no card is. */
  readonly device: 'native';
  readonly precision: 'f32' | 'bf16';
  readonly batchSize: number;
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly hiddenSize: number;
  /** Of the processor's. */
  readonly threads?: number;
  /** Steps at most, and seconds after the first two steps at most. */
  readonly steps: number;
  readonly seconds: number;
  readonly learningRate: number;
  /** Tokens that can be learnt, so that the loss falls; else noise. */
  readonly learnable: boolean;
  /** A folder: the last steps are recorded operation by operation, and none is timed as it is without that. */
  readonly profile?: string;
}

/** Noise comes from so many batches, made beforehand: what is timed is not the making. */
const NUM_BATCHES = 8;

const job: Job = JSON.parse(process.argv[2] ?? '{}');
const { batchSize, contextLength, vocabularySize } = job;
await tf.setBackend('cpu');
const began = performance.now();
const size = {
  vocabularySize,
  contextLength,
  numLayers: job.numLayers,
  numHeads: job.numHeads,
  hiddenSize: job.hiddenSize,
};
const model = merak.lazy(() => merak.models.gpt({ ...size, seed: 1 }));
const folder = mkdtempSync(join(tmpdir(), 'merak-gpu-'));
const report = join(folder, 'report.json');
const parallel = await merak.wrap(model, {
  optimizer: tf.train.adam(job.learningRate, 0.9, 0.95),
  dp: 1,
  tp: 1,
  pp: 1,
  microBatches: 1,
  recompute: 'none',
  seed: 1,
  weightDecay: 0.1,
  device: job.device,
  precision: job.precision,
  logDir: folder,
  report,
  ...(job.threads === undefined ? {} : { threadsPerWorker: job.threads }),
  ...(job.profile === undefined ? {} : { profile: job.profile }),
});

/** The next token is a fixed function of the one before, one time in four of chance. */
function tokensOf(step: number): [Int32Array, Int32Array] {
  const [tokens, targets] = [new Int32Array(batchSize * contextLength), new Int32Array(batchSize * contextLength)];
  for (let sample = 0; sample < batchSize; sample++) {
    let token = Math.floor(noise(step, sample) * vocabularySize);
    for (let i = 0; i < contextLength; i++) {
      const at = sample * contextLength + i;
      tokens[at] = token;
      const chance = noise(step + 7919, at + batchSize);
      token =
        job.learnable && chance > 0.25
          ? (token * 5 + 3) % 257
          : Math.floor(chance * 4 * vocabularySize) % vocabularySize;
      targets[at] = token;
    }
  }
  return [tokens, targets];
}

const fields = (['tokens', 'targets'] as const).map((name) => ({
  name,
  shape: [contextLength],
  dtype: 'int32' as const,
}));
const noiseBatches = job.learnable ? [] : Array.from({ length: NUM_BATCHES }, (_, index) => tokensOf(index));
const source: BatchSource = {
  fields,
  batchSize,
  numBatches: job.steps,
  batch: async (_, index) => {
    if (index >= job.steps) return null;
    const [tokens, targets] = noiseBatches[index % NUM_BATCHES] ?? tokensOf(index);
    return {
      size: batchSize,
      fields: new Map([
        ['tokens', tokens],
        ['targets', targets],
      ]),
    };
  },
};

const losses: number[] = [];
/** When each step had ended. */
const ends: number[] = [];
let deadline = Number.POSITIVE_INFINITY;
try {
  // Without callbacks at batches the next one is sent while a step runs, as in anybody's training.
  await parallel.fitDataset(source, {
    verbose: 0,
    stopWhen: () => performance.now() > deadline,
    onStep: (_, logs) => {
      ends.push(performance.now());
      losses.push(logs.loss!);
      if (ends.length === 2) deadline = performance.now() + job.seconds * 1000;
    },
  });
  await parallel.close();
  const data: ReportData = JSON.parse(readFileSync(report, 'utf8'));
  const times = ends.slice(1).map((end, i) => (end - ends[i]!) / 1000);
  // The first steps compile, warm up and are captured.
  const steady = times.slice(Math.min(4, Math.max(0, times.length - 2))).sort((a, b) => a - b);
  const stepSeconds = steady[steady.length >> 1] ?? Number.NaN;
  const line = {
    stepSeconds,
    tokensPerSecond: (batchSize * contextLength) / stepSeconds,
    numSteps: ends.length,
    losses,
    /** To the end of the first step. */
    startSeconds: (ends[0]! - began) / 1000,
    peakBytes: data.peakBytes?.[0],
    operations: data.profile?.operations.slice(0, 30),
  };
  console.log(JSON.stringify(line));
} finally {
  await parallel.close();
  rmSync(folder, { recursive: true, force: true });
}
