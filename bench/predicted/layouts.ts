/** The layouts of two ranks whose predictions are compared with the engine. */
import { SCHEDULE_NAMES } from '../../src/pipeline/registry.js';
import type { PlanInput } from '../../src/planner/buildPlan.js';

export type Layout = Pick<PlanInput, 'schedule' | 'recompute' | 'numMicroBatches'> & {
  readonly mesh: { readonly pp: number; readonly dp: number; readonly tp: number };
};

const pp2 = { pp: 2, dp: 1, tp: 1 };

export const LAYOUTS: readonly (readonly [string, Layout])[] = [
  ...SCHEDULE_NAMES.map((schedule) => [`pp2 ${schedule}`, { mesh: pp2, schedule, numMicroBatches: 8 }] as const),
  ...['1f1b', '1f1b-early', 'scp', 'zb-h1'].map(
    (schedule) =>
      [`pp2 ${schedule}, recomputing`, { mesh: pp2, schedule, numMicroBatches: 8, recompute: 'full' }] as const,
  ),
  ['tp2', { mesh: { pp: 1, dp: 1, tp: 2 }, numMicroBatches: 1 }],
  ['tp2, 4 micro-batches', { mesh: { pp: 1, dp: 1, tp: 2 }, numMicroBatches: 4 }],
  ['dp2', { mesh: { pp: 1, dp: 2, tp: 1 }, numMicroBatches: 1 }],
  ['dp2, 4 micro-batches', { mesh: { pp: 1, dp: 2, tp: 1 }, numMicroBatches: 4 }],
];
