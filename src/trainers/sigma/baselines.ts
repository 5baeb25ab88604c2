/** What the recipe is compared with: nodes sorted by degree, and Gromov-Wasserstein by conditional gradient. */
import { degrees } from '../readers/edges.js';
import { assign } from '../solvers/assignment.js';
import type { GraphPair } from './generate.js';
import type { Matcher } from './matcher.js';

/** Matches the nodes in the order of their degrees, which minimises the sum of their differences; ties by number. */
export function matchByDegree({ source, target }: GraphPair): Int32Array {
  const order = (counts: Int32Array): number[] =>
    Array.from(counts, (_, node) => node).sort((a, b) => counts[a]! - counts[b]! || a - b);
  const [rows, columns] = [order(degrees(source)), order(degrees(target))];
  const matching = new Int32Array(rows.length).fill(-1);
  // With more target nodes, those of the lowest degree stay alone.
  for (const [rank, row] of rows.entries()) matching[row] = columns[rank + columns.length - rows.length]!;
  return matching;
}

const SMALLEST_STEP = 1e-7;

/**
 * Conditional gradient (Frank and Wolfe 1956; for Gromov-Wasserstein, Vayer et al. 2019, algorithm 1) from p q': each
 * iteration goes towards the one-to-one plan that the gradient favours, by exact line search. Adjacency matrices alone.
 * For graphs of equally many nodes and uniform marginals.
 */
export async function matchByConditionalGradient(
  matcher: Matcher,
  pair: GraphPair,
  iterations: number,
): Promise<Int32Array> {
  const { source, target } = pair;
  await matcher.load(pair, 1);
  for (let i = 0; i < iterations; i++) {
    const { columns } = assign(await matcher.inconsistency(), source.numNodes, target.numNodes);
    if ((await matcher.moveTowards(columns)) < SMALLEST_STEP) break;
  }
  return assign(await matcher.costs(), source.numNodes, target.numNodes).columns;
}
