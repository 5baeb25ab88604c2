/** Reading node attributes as tfjs leaves them: numbers or lists, negative axes, nulls for "all". */
import type { Attr } from '../../graph/graph.js';

/** A list of numbers; a single number reads as a list of one; undefined for anything else. */
export function numberList(attr: Attr | undefined): readonly number[] | undefined {
  if (typeof attr === 'number') return [attr];
  if (!Array.isArray(attr)) return undefined;
  const list: readonly Attr[] = attr;
  const numbers: number[] = [];
  for (const element of list) {
    if (typeof element !== 'number') return undefined;
    numbers.push(element);
  }
  return numbers;
}

/** A dim in 0..rank-1, counting negative ones from the end; `fallback` when the attribute is absent. */
export function dimAttr(attr: Attr | undefined, rank: number, fallback = 0): number {
  const dim = typeof attr === 'number' ? attr : fallback;
  return dim < 0 ? dim + rank : dim;
}

/** The dims an axis attribute names; null, undefined and [] mean all of them, as in tfjs. */
export function reducedDims(attr: Attr | undefined, rank: number): ReadonlySet<number> {
  const axes = numberList(attr);
  const dims = axes === undefined || axes.length === 0 ? Array.from({ length: rank }, (_, dim) => dim) : axes;
  return new Set(dims.map((dim) => (dim < 0 ? dim + rank : dim)));
}

export function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
