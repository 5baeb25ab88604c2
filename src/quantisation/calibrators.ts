/** From what was observed of an activation to the magnitude that int8's 127 stands for. */
import { MerakError } from '../errors.js';
import { type Histogram, NUM_BINS } from './histogram.js';

export const CALIBRATORS = ['max', 'percentile', 'entropy', 'mse'] as const;
export type Calibrator = (typeof CALIBRATORS)[number];

/** Magnitudes that symmetric int8 tells apart, zero aside. */
const NUM_LEVELS = 127;

/**
 * `percentile` (of 100) is read by the percentile calibrator only. A positive number even where nothing but zeros was seen.
 *
 * - max: the largest magnitude;
 * - percentile: that many percent of the magnitudes lie below;
 * - entropy: least Kullback-Leibler divergence of the clipped distribution from its quantised form (Migacz, "8-bit inference with
 *   TensorRT", GTC 2017);
 * - mse: least mean squared error of clipping and rounding, each bin taken at its middle.
 *
 * @throws MerakError config/invalid
 */
export function calibrate(histogram: Histogram, calibrator: Calibrator, percentile = 99.99): number {
  if (!(percentile > 0 && percentile <= 100)) {
    throw new MerakError('config/invalid', 'the percentile of a calibrator is out of range', {
      path: 'percentile',
      expected: '0 < percentile <= 100',
      received: String(percentile),
    });
  }
  if (histogram.maximum === 0) return 1;
  switch (calibrator) {
    case 'max':
      return histogram.maximum;
    case 'percentile':
      return Math.min(histogram.maximum, percentileOf(histogram, percentile / 100));
    case 'entropy':
      return Math.min(histogram.maximum, leastDivergence(histogram));
    case 'mse':
      return Math.min(histogram.maximum, leastSquares(histogram));
  }
}

const widthOf = ({ limit }: Histogram): number => limit / NUM_BINS;

/** Linear inside a bin. */
function percentileOf(histogram: Histogram, fraction: number): number {
  const total = histogram.counts.reduce((sum, count) => sum + count, 0);
  let left = fraction * total;
  for (let bin = 0; bin < NUM_BINS; bin++) {
    const count = histogram.counts[bin] ?? 0;
    if (count >= left && count > 0) return (bin + left / count) * widthOf(histogram);
    left -= count;
  }
  return histogram.maximum;
}

/** Bins up to the last that holds anything. */
function numUsed({ counts }: Histogram): number {
  return counts.findLastIndex((count) => count > 0) + 1;
}

function leastDivergence(histogram: Histogram): number {
  const used = numUsed(histogram);
  let [best, least] = [used, Number.POSITIVE_INFINITY];
  for (let numBins = Math.min(NUM_LEVELS + 1, used); numBins <= used; numBins++) {
    const divergence = clippedDivergence(histogram.counts, numBins, used);
    if (divergence < least) [best, least] = [numBins, divergence];
  }
  return best * widthOf(histogram);
}

/** What stands for an empty bin of Q, so that a single outlier in the last bin of P does not make the divergence infinite. */
const LEAST_SHARE = 1e-9;

/** KL(P || Q): P the first bins with all beyond them in the last, Q the first bins' mass spread evenly within each level. */
function clippedDivergence(counts: Float64Array, numBins: number, used: number): number {
  let outliers = 0;
  for (let bin = numBins; bin < used; bin++) outliers += counts[bin] ?? 0;
  const reference = counts.slice(0, numBins);
  reference[numBins - 1] = (reference[numBins - 1] ?? 0) + outliers;
  const numLevels = NUM_LEVELS + 1;
  const quantised = new Float64Array(numBins);
  let quantisedTotal = 0;
  for (let level = 0; level < numLevels; level++) {
    const begin = Math.floor((level * numBins) / numLevels);
    const end = Math.floor(((level + 1) * numBins) / numLevels);
    let [mass, filled] = [0, 0];
    for (let bin = begin; bin < end; bin++) {
      mass += counts[bin] ?? 0;
      if ((reference[bin] ?? 0) > 0) filled++;
    }
    for (let bin = begin; bin < end; bin++) if ((reference[bin] ?? 0) > 0) quantised[bin] = mass / filled;
    quantisedTotal += mass;
  }
  const total = reference.reduce((sum, count) => sum + count, 0);
  let divergence = 0;
  for (let bin = 0; bin < numBins; bin++) {
    const p = (reference[bin] ?? 0) / total;
    const q = (quantised[bin] ?? 0) / quantisedTotal;
    if (p > 0) divergence += p * Math.log(p / Math.max(q, LEAST_SHARE));
  }
  return divergence;
}

function leastSquares(histogram: Histogram): number {
  const used = numUsed(histogram);
  const width = widthOf(histogram);
  let [best, least] = [used, Number.POSITIVE_INFINITY];
  for (let numBins = Math.max(1, used >> 4); numBins <= used; numBins++) {
    const amax = numBins * width;
    const scale = amax / NUM_LEVELS;
    let error = 0;
    for (let bin = 0; bin < used && error < least; bin++) {
      const count = histogram.counts[bin] ?? 0;
      if (count === 0) continue;
      const x = (bin + 0.5) * width;
      const rounded = x >= amax ? amax : Math.round(x / scale) * scale;
      error += count * (x - rounded) ** 2;
    }
    if (error < least) [best, least] = [numBins, error];
  }
  return best * width;
}
