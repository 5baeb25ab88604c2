/** 1F1B whose stages recompute while they wait for the gradients of the drain. */
import { requireCounts } from './counts.js';
import { alternate } from './oneForwardOneBackward.js';
import type { Schedule } from './schedule.js';

/**
 * 1F1B, and stage i puts an R before the B of its first and of its last p - 1 - i micro-batches, for whose gradients it
 * would wait idle: m (F+R+B) + (p-1)(F+B) instead of (m+p-1)(F+R+B) when every stage recomputes, and
 * m (F+R+B) + (p-2)(F+B) + F when the last does not (merak.md 3.4).
 *
 * @throws MerakError 'plan/invalid' when a count is not a positive integer.
 */
export function earlyRecompute(numStages: number, numMicroBatches: number): Schedule {
  requireCounts(numStages, numMicroBatches);
  const waits = (micro: number, distance: number) =>
    distance > 0 && (micro === 0 || micro >= numMicroBatches - distance);
  const stages = Array.from({ length: numStages }, (_, stage) => {
    const distance = numStages - 1 - stage;
    return alternate(numMicroBatches, distance, (micro) => waits(micro, distance));
  });
  return { name: '1f1b-early', numStages, numMicroBatches, stages };
}
