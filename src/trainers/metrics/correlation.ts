/** Rank correlation. */
import { sampleRankCorrelation } from 'simple-statistics';
import { checkPairs } from './pairs.js';

/**
 * Spearman's rho; ties get the mean of their ranks. NaN where one side is constant.
 *
 * @example
 * merak.metrics.spearman([1, 2, 3, 4], [10, 30, 20, 40]); // 0.8
 */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  checkPairs('spearman', a, b);
  return sampleRankCorrelation(Array.from(a), Array.from(b));
}
