/** One workload trained by Merak in one layout, through the public API. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import type { ReportData } from '../../src/api/report.js';
import * as merak from '../../src/index.js';
import { sourceOf, type Workload } from '../models/workload.js';
import type { Layout } from './layouts.js';
import type { Timed } from './result.js';
import type { ReusableModel } from './reusable.js';

export interface MerakOptions {
  readonly precision: 'f32' | 'bf16';
  /** Rounds are timed until so many seconds are over, but at least three. */
  readonly seconds: number;
  /** Record the steps: for the figures on overlap, at some cost in time. */
  readonly record?: boolean;
}

const MIN_ROUNDS = 3;

/** Wall clock of whole rounds, data and optimizer included; the fastest after one that warms up. */
export async function trainWithMerak(
  workload: Workload,
  { built, reset }: ReusableModel,
  layout: Layout,
  { precision, seconds, record = false }: MerakOptions,
): Promise<Timed & { readonly report: ReportData }> {
  await tf.setBackend('cpu');
  reset();
  // Memory made ahead would count as touched; after the first round it makes no difference.
  const { MERAK_MEMORY_AHEAD: ahead } = process.env;
  process.env.MERAK_MEMORY_AHEAD = 'off';
  const folder = mkdtempSync(join(tmpdir(), 'merak-bench-'));
  const { model, optimizer } = built;
  const report = join(folder, 'report.json');
  const parallel = await merak.wrap(model, {
    ...layout.options,
    ...(model instanceof tf.LayersModel ? {} : { optimizer }),
    ...(record ? { profile: join(folder, 'profile') } : {}),
    device: 'native',
    precision,
    logDir: folder,
    report,
  });
  const steps = workload.stepsPerRound;
  const rounds: number[] = [];
  let began = 0;
  let deadline = Number.POSITIVE_INFINITY;
  let loss = Number.NaN;
  try {
    await parallel.fitDataset(sourceOf(workload, layout.batchSize, steps), {
      epochs: 1_000_000,
      verbose: 0,
      stopWhen: (step) => step % steps === 0 && rounds.length > MIN_ROUNDS && performance.now() > deadline,
      callbacks: {
        onEpochBegin: async () => {
          began = performance.now();
        },
        onEpochEnd: async (_, logs) => {
          // Training that stops at the beginning of a round ends it without a step.
          if (logs?.loss === undefined) return;
          rounds.push((performance.now() - began) / 1000);
          if (rounds.length === 1) deadline = performance.now() + seconds * 1000;
          loss = logs.loss;
        },
      },
    });
    await parallel.close();
    const data: ReportData = JSON.parse(readFileSync(report, 'utf8'));
    const peaks = data.peakBytes ?? [];
    const largest = peaks.toSorted((a, b) => b.measured - a.measured)[0];
    return {
      stepSeconds: Math.min(...rounds.slice(1)) / steps,
      batchSize: layout.batchSize,
      loss,
      ...(largest === undefined ? {} : { peak: largest }),
      report: data,
    };
  } finally {
    if (ahead === undefined) delete process.env.MERAK_MEMORY_AHEAD;
    else process.env.MERAK_MEMORY_AHEAD = ahead;
    await parallel.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
