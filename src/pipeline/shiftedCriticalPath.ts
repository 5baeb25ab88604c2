/** The shifted critical path (SCP) schedule of Merak (Lai et al., TPDS 2023). */

import { requireCounts } from './counts.js';
import { alternate, oneForwardOneBackward } from './oneForwardOneBackward.js';
import type { Schedule, Task } from './schedule.js';

/**
 * Four departures from 1F1B with recomputation: the last stage never recomputes; stage p-2 runs its third forward
 * before its first backward and recomputes micro-batches 0 and 1 early; stage p-3 recomputes micro-batch 0 early; every
 * other stage recomputes early while draining. An R is early: it comes before the gradient is awaited. With fewer
 * micro-batches than the paper asks for (m < p or m < 4) each run is cut short where the micro-batches end.
 *
 * @throws MerakError 'plan/invalid' when a count is not a positive integer.
 */
export function shiftedCriticalPath(numStages: number, numMicroBatches: number): Schedule {
  requireCounts(numStages, numMicroBatches);
  const stages = Array.from({ length: numStages }, (_, stage): readonly Task[] => {
    const distance = numStages - 1 - stage;
    if (distance === 0) return oneForwardOneBackward(1, numMicroBatches).stages[0] ?? [];
    if (distance === 1) return penultimate(numMicroBatches);
    const draining = numMicroBatches - distance;
    return alternate(numMicroBatches, distance, (micro) => micro >= draining || (distance === 2 && micro === 0));
  });
  return { name: 'scp', numStages, numMicroBatches, stages };
}

/** F0 F1 F2 R0 B0 R1 B1, then F(k) B(k-1) in turn, then the last B. */
function penultimate(numMicroBatches: number): Task[] {
  const tasks: Task[] = [];
  for (let micro = 0; micro < Math.min(3, numMicroBatches); micro++) tasks.push({ kind: 'F', micro });
  for (let micro = 0; micro < Math.min(2, numMicroBatches); micro++) {
    tasks.push({ kind: 'R', micro }, { kind: 'B', micro });
  }
  for (let micro = 3; micro < numMicroBatches; micro++) {
    tasks.push({ kind: 'F', micro }, { kind: 'B', micro: micro - 1 });
  }
  if (numMicroBatches > 2) tasks.push({ kind: 'B', micro: numMicroBatches - 1 });
  return tasks;
}
