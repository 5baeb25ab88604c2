/** Rates that depend on the size of the work: small matrix products and short vectors run slower, or in cache. */
import { MerakError } from '../../errors.js';

/** `rate` units per second at work of `size` units; sizes ascend. One point: the same rate everywhere. */
export type RateCurve = readonly { readonly size: number; readonly rate: number }[];

export function flat(rate: number): RateCurve {
  return [{ size: 1, rate }];
}

/** Between points, the rate follows a straight line over the logarithm of the size; outside them it is that of the nearest. */
export function rateAt(curve: RateCurve, size: number): number {
  const above = curve.findIndex((point) => point.size >= size);
  const after = curve[above === -1 ? curve.length - 1 : above];
  const before = curve[above - 1];
  if (after === undefined) throw new MerakError('config/invalid', 'a rate curve has no points');
  if (above <= 0 || before === undefined) return after.rate;
  const share = Math.log(size / before.size) / Math.log(after.size / before.size);
  return before.rate + share * (after.rate - before.rate);
}
