/** The GPipe schedule (Huang et al., 2019): all forwards, then all backwards. */
import { requireCounts } from './counts.js';
import type { Schedule, Task } from './schedule.js';

/**
 * Every micro-batch is in flight at once; backwards run in the order of the forwards, so messages stay first in, first
 * out. It alone of the training schedules survives sends that wait for their receiver.
 *
 * @throws MerakError 'plan/invalid' when a count is not a positive integer.
 */
export function gpipe(numStages: number, numMicroBatches: number): Schedule {
  requireCounts(numStages, numMicroBatches);
  const all = (kind: Task['kind']) => Array.from({ length: numMicroBatches }, (_, micro): Task => ({ kind, micro }));
  const tasks = [...all('F'), ...all('B')];
  return { name: 'gpipe', numStages, numMicroBatches, stages: Array.from({ length: numStages }, () => tasks) };
}
