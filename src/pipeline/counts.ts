/** The argument check every schedule generator shares. */
import { MerakError } from '../errors.js';

/** @throws MerakError 'plan/invalid' unless both are positive integers. */
export function requireCounts(numStages: number, numMicroBatches: number): void {
  for (const [what, count] of [
    ['stages', numStages],
    ['micro-batches', numMicroBatches],
  ] as const) {
    if (!Number.isInteger(count) || count < 1) {
      throw new MerakError('plan/invalid', `a schedule needs a positive number of ${what}`, {
        expected: 'an integer >= 1',
        received: String(count),
      });
    }
  }
}

/** @throws MerakError 'plan/invalid' unless it is a positive integer. */
export function requireChunks(numChunks: number): void {
  if (Number.isInteger(numChunks) && numChunks >= 1) return;
  throw new MerakError('plan/invalid', 'a schedule needs a positive number of chunks per stage', {
    expected: 'an integer >= 1',
    received: String(numChunks),
  });
}
