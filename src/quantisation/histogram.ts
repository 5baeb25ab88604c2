/** Histograms of magnitudes whose bins depend on the range seen and not on the order of what was seen: parts add up exactly. */

/** Bins over [0, limit); `limit` is a power of two. */
export interface Histogram {
  readonly limit: number;
  readonly counts: Float64Array;
  /** The largest magnitude seen; 0 when nothing was. */
  readonly maximum: number;
}

export const NUM_BINS = 2048;

/** A magnitude below this counts as zero when the range is chosen. */
const LEAST_LIMIT = 2 ** -60;

export const EMPTY: Histogram = { limit: LEAST_LIMIT, counts: new Float64Array(NUM_BINS), maximum: 0 };

/** Adds |x| of every element. Raises RangeError on a number that is not finite. */
export function observe(histogram: Histogram, data: ArrayLike<number>): Histogram {
  let maximum = 0;
  for (let i = 0; i < data.length; i++) {
    const magnitude = Math.abs(data[i] as number);
    if (!(magnitude < Number.POSITIVE_INFINITY)) throw new RangeError(`element ${i} is ${data[i]}`);
    if (magnitude > maximum) maximum = magnitude;
  }
  const widened = widen(histogram, limitFor(maximum));
  const counts = widened.counts.slice();
  const perUnit = NUM_BINS / widened.limit;
  for (let i = 0; i < data.length; i++) {
    const bin = Math.floor(Math.abs(data[i] as number) * perUnit);
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return { limit: widened.limit, counts, maximum: Math.max(histogram.maximum, maximum) };
}

/** Of what two parts of the data, or two ranks, have seen. */
export function merge(a: Histogram, b: Histogram): Histogram {
  const [left, right] = [widen(a, b.limit), widen(b, a.limit)];
  const counts = left.counts.map((count, bin) => count + (right.counts[bin] ?? 0));
  return { limit: left.limit, counts, maximum: Math.max(a.maximum, b.maximum) };
}

/** The smallest power of two above `maximum`. */
function limitFor(maximum: number): number {
  let limit = LEAST_LIMIT;
  while (limit <= maximum) limit *= 2;
  return limit;
}

/** The same counts over a range at least as wide: neighbouring bins join until it is. */
function widen({ limit, counts, maximum }: Histogram, wanted: number): Histogram {
  let [range, current] = [limit, counts];
  while (range < wanted) {
    const joined = new Float64Array(NUM_BINS);
    current.forEach((count, bin) => {
      joined[bin >> 1] = (joined[bin >> 1] ?? 0) + count;
    });
    [range, current] = [range * 2, joined];
  }
  return { limit: range, counts: current, maximum };
}
