/** What every metric checks first. */
import { MerakError } from '../../errors.js';

/** Raises config/invalid unless both have the same length, which is not 0. */
export function checkPairs(metric: string, a: ArrayLike<unknown>, b: ArrayLike<unknown>): void {
  if (a.length === b.length && a.length > 0) return;
  throw new MerakError('config/invalid', `${metric} needs as many predictions as targets, and at least one`, {
    path: `metrics.${metric}`,
    received: `${a.length} and ${b.length}`,
  });
}
