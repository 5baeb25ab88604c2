/** Assignments against trying all permutations. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { assign } from '../../../src/trainers/solvers/assignment.js';

function leastByTrying(cost: readonly number[], numRows: number, numColumns: number): number {
  const best = (row: number, used: ReadonlySet<number>): number => {
    if (row === numRows) return 0;
    let least = Number.POSITIVE_INFINITY;
    for (let j = 0; j < numColumns; j++) {
      if (!used.has(j)) least = Math.min(least, cost[row * numColumns + j]! + best(row + 1, new Set([...used, j])));
    }
    return least;
  };
  return best(0, new Set());
}

it('finds the least cost, ties and negative costs included', () => {
  const problem = fc
    .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 0, max: 2 }))
    .chain(([rows, more]) =>
      fc.tuple(
        fc.constant(rows),
        fc.constant(rows + more),
        fc.array(fc.integer({ min: -4, max: 9 }), { minLength: rows * (rows + more), maxLength: rows * (rows + more) }),
      ),
    );
  fc.assert(
    fc.property(problem, ([rows, columns, cost]) => {
      const found = assign(Float64Array.from(cost), rows, columns);
      expect(new Set(found.columns).size).toBe(rows);
      expect(found.cost).toBe(leastByTrying(cost, rows, columns));
    }),
    { numRuns: 300 },
  );
});

it('refuses what it cannot assign', () => {
  expect(() => assign(new Float64Array(6), 3, 2)).toThrow(/a column for every row/);
  expect(() => assign(Float64Array.of(0, Number.NaN), 1, 2)).toThrow(/not finite/);
});
