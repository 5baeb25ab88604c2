/** ZB-H1 (Qi et al., "Zero Bubble Pipeline Parallelism", ICLR 2024): weight gradients fill the bubbles of 1F1B. */
import { requireCounts } from './counts.js';
import type { Schedule, Task } from './schedule.js';
import { shiftedCriticalPath } from './shiftedCriticalPath.js';

/**
 * The 1F1B order with B (input gradients) split from W (weight gradients). Stage i lags its Ws behind its Bs by i
 * micro-batches and so holds p of them from F to W, as stage 0 of 1F1B does. With F = B = W a step takes
 * 3 m + p - 1 instead of 3 (m + p - 1).
 *
 * Under recomputation: the SCP order with its early Rs, every B split, and W right behind it, so that one recomputed
 * micro-batch exists at a time. m (F+R+B+W) + (p-2)(F+B): the drain passes input gradients only.
 *
 * @throws MerakError 'plan/invalid' when a count is not a positive integer.
 */
export function zeroBubbleH1(numStages: number, numMicroBatches: number, recomputes = false): Schedule {
  requireCounts(numStages, numMicroBatches);
  const stages = recomputes
    ? shiftedCriticalPath(numStages, numMicroBatches).stages.map(withWeights)
    : Array.from({ length: numStages }, (_, stage) => laggingWeights(numMicroBatches, numStages - 1 - stage, stage));
  return { name: 'zb-h1', numStages, numMicroBatches, stages };
}

function withWeights(tasks: readonly Task[]): Task[] {
  return tasks.flatMap((task): Task[] => (task.kind === 'B' ? [task, { kind: 'W', micro: task.micro }] : [task]));
}

/** `warmUp` forwards, then F, B and the W of `lag` micro-batches ago in turn, then what is left. */
function laggingWeights(numMicroBatches: number, warmUp: number, lag: number): Task[] {
  const tasks: Task[] = [];
  const add = (kind: Task['kind'], micro: number) => {
    if (micro >= 0 && micro < numMicroBatches) tasks.push({ kind, micro });
  };
  for (let micro = 0; micro < warmUp; micro++) add('F', micro);
  for (let micro = 0; micro < numMicroBatches; micro++) {
    add('F', micro + warmUp);
    add('B', micro);
    add('W', micro - lag);
  }
  for (let micro = Math.max(0, numMicroBatches - lag); micro < numMicroBatches; micro++) add('W', micro);
  return tasks;
}
