/** How good a matching is. */
import type { EdgeList } from '../readers/edges.js';

/** Share of the true pairs that are matched (node correctness). NaN where no pair is known. */
export function nodeCorrectness(columns: Int32Array, truth: Int32Array): number {
  let [hits, known] = [0, 0];
  for (const [i, target] of truth.entries()) {
    if (target < 0) continue;
    known++;
    if (columns[i] === target) hits++;
  }
  return hits / known;
}

/** Edges that lie on edges of the other graph under the matching, as a share of the smaller graph's edges. */
export function edgeOverlap(columns: Int32Array, source: EdgeList, target: EdgeList): number {
  const keyOf = (a: number, b: number): number => Math.min(a, b) * target.numNodes + Math.max(a, b);
  const known = new Set(Array.from(target.from, (a, i) => keyOf(a, target.to[i]!)));
  let common = 0;
  for (const [i, a] of source.from.entries()) if (known.has(keyOf(columns[a]!, columns[source.to[i]!]!))) common++;
  return common / Math.min(source.from.length, target.from.length);
}
