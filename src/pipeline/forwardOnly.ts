/** The schedule of evaluation and prediction: every micro-batch forward, in order. */
import { requireCounts } from './counts.js';
import type { Schedule } from './schedule.js';

/** @throws MerakError 'plan/invalid' when a count is not a positive integer. */
export function forwardOnly(numStages: number, numMicroBatches: number): Schedule {
  requireCounts(numStages, numMicroBatches);
  const tasks = Array.from({ length: numMicroBatches }, (_, micro) => ({ kind: 'F', micro }) as const);
  return { name: 'forward', numStages, numMicroBatches, stages: Array.from({ length: numStages }, () => tasks) };
}
