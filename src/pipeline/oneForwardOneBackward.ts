/** The 1F1B schedule: warm up, then one forward and one backward in turn, then drain. */

import { requireCounts } from './counts.js';
import type { Schedule, Task } from './schedule.js';

/**
 * Stage i runs min(p - 1 - i, m) forwards, then alternates forward and backward, then drains, so at most
 * min(p - i, m) micro-batches are in flight. Any p >= 1 and m >= 1 (with m < p the pipeline never fills).
 *
 * @throws MerakError 'plan/invalid' when a count is not a positive integer.
 */
export function oneForwardOneBackward(numStages: number, numMicroBatches: number): Schedule {
  requireCounts(numStages, numMicroBatches);
  const stages = Array.from({ length: numStages }, (_, stage) =>
    alternate(numMicroBatches, numStages - 1 - stage, () => false),
  );
  return { name: '1f1b', numStages, numMicroBatches, stages };
}

/** `numWarmUp` forwards, then F B in turn, then the remaining Bs; `early(k)` puts an R before B(k). */
export function alternate(numMicroBatches: number, numWarmUp: number, early: (micro: number) => boolean): Task[] {
  const warmUp = Math.min(numWarmUp, numMicroBatches);
  const tasks: Task[] = [];
  for (let micro = 0; micro < warmUp; micro++) tasks.push({ kind: 'F', micro });
  for (let micro = 0; micro < numMicroBatches; micro++) {
    if (micro + warmUp < numMicroBatches) tasks.push({ kind: 'F', micro: micro + warmUp });
    if (early(micro)) tasks.push({ kind: 'R', micro });
    tasks.push({ kind: 'B', micro });
  }
  return tasks;
}
