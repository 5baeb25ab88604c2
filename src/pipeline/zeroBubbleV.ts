/** ZB-V (Qi et al., 2024): two chunks per stage in a V, so that the stage that starts a micro-batch also ends it. */
import { requireCounts } from './counts.js';
import type { Schedule, Task } from './schedule.js';

/**
 * Stage s fills with 2 (p - s) - 1 forwards of chunk 0, takes turns of both chunks' forwards until its first gradient,
 * then runs F B W of chunk 0 and of chunk 1 in turn, and drains with Bs first and Ws last. At most 2 p chunk activations
 * are held from F to W on every stage: the memory of 1F1B's first stage. With F = B = W = 1 per chunk and m >= 2 p - 1 a
 * step takes 6 m + p - 1, against 6 (m + p - 1) of 1F1B. Micro-batches beyond m are left out of an order made for 2 p - 1.
 * Under recomputation an R stands before every B, ahead of its gradient.
 *
 * @throws MerakError 'plan/invalid' when a count is not a positive integer.
 */
export function zeroBubbleV(numStages: number, numMicroBatches: number, recomputes = false): Schedule {
  requireCounts(numStages, numMicroBatches);
  const stages = Array.from({ length: numStages }, (_, stage) =>
    stageTasks(stage, numStages, Math.max(numMicroBatches, 2 * numStages - 1), recomputes).filter(
      ({ micro }) => micro < numMicroBatches,
    ),
  );
  return { name: 'zb-v', numStages, numMicroBatches, numChunks: 2, placement: 'vee', stages };
}

function stageTasks(stage: number, numStages: number, numMicroBatches: number, recomputes: boolean): Task[] {
  const tasks: Task[] = [];
  const done = { F: [0, 0], B: [0, 0], W: [0, 0] };
  const next = (kind: 'F' | 'B' | 'W', chunk: 0 | 1) => {
    const micro = done[kind][chunk] ?? 0;
    if (micro >= numMicroBatches) return;
    if (kind === 'B' && recomputes) tasks.push({ kind: 'R', micro, chunk });
    tasks.push({ kind, micro, chunk });
    done[kind][chunk] = micro + 1;
  };
  const turn = (chunk: 0 | 1) => {
    next('B', chunk);
    next('W', chunk);
  };
  const distance = numStages - stage;
  for (let i = 0; i < 2 * distance - 1; i++) next('F', 0);
  for (let i = 0; i < stage; i++) {
    next('F', 1);
    next('F', 0);
  }
  for (let i = 0; i < distance; i++) {
    next('F', 1);
    turn(1);
  }
  while ((done.F[1] ?? 0) < numMicroBatches) {
    next('F', 0);
    turn(0);
    next('F', 1);
    turn(1);
  }
  for (let i = 0; i < stage; i++) {
    next('B', 0);
    next('B', 1);
  }
  for (let i = 0; i < distance; i++) turn(0);
  for (const chunk of [1, 0] as const) {
    while ((done.W[chunk] ?? 0) < (done.B[chunk] ?? 0)) next('W', chunk);
  }
  return tasks;
}
