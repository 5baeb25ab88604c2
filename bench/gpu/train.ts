/**
 * Merak's side of `npm run gpu`: training steps of a GPT through the public API, in this process. One argument, the job as JSON; prints
 * a JSON line: losses of the first steps, seconds of a step (median), tokens per second, memory.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import type { ReportData } from '../../src/api/report.js';
import * as merak from '../../src/index.js';
import { noise, sourceOf } from '../models/workload.js';

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
  /** Steps at most, and seconds after the first two steps at most. */
  readonly steps: number;
  readonly seconds: number;
  readonly learningRate: number;
  /** Tokens that can be learnt, so that the loss falls; else noise. */
  readonly learnable: boolean;
  readonly profile?: string;
}

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

const losses: number[] = [];
const times: number[] = [];
let stepBegan = 0;
let deadline = Number.POSITIVE_INFINITY;
const fields = (['tokens', 'targets'] as const).map((name) => ({
  name,
  shape: [contextLength],
  dtype: 'int32' as const,
}));
const batch = (count: number, index: number) => {
  const [tokens, targets] = tokensOf(index);
  return {
    size: count,
    fields: new Map([
      ['tokens', tokens],
      ['targets', targets],
    ]),
  };
};
try {
  await parallel.fitDataset(sourceOf({ fields, batch } as unknown as Parameters<typeof sourceOf>[0], batchSize, 1), {
    epochs: job.steps,
    verbose: 0,
    stopWhen: () => times.length >= 2 && performance.now() > deadline,
    callbacks: {
      onEpochBegin: async () => {
        stepBegan = performance.now();
      },
      onEpochEnd: async (_, logs) => {
        if (logs?.loss === undefined) return;
        times.push((performance.now() - stepBegan) / 1000);
        losses.push(logs.loss);
        if (times.length === 2) deadline = performance.now() + job.seconds * 1000;
      },
    },
  });
  await parallel.close();
  const data: ReportData = JSON.parse(readFileSync(report, 'utf8'));
  // The first steps compile, warm up and are captured.
  const steady = times.slice(Math.min(4, Math.max(1, times.length - 2))).sort((a, b) => a - b);
  const stepSeconds = steady[steady.length >> 1] ?? Number.NaN;
  const line = {
    stepSeconds,
    tokensPerSecond: (batchSize * contextLength) / stepSeconds,
    numSteps: times.length,
    losses,
    startSeconds: (stepBegan - began) / 1000 - times.reduce((sum, time) => sum + time, 0),
    peakBytes: data.peakBytes?.[0],
  };
  console.log(JSON.stringify(line));
} finally {
  await parallel.close();
  rmSync(folder, { recursive: true, force: true });
}
