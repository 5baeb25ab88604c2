/** Exact transport against its dual, and against assignments of masses cut into equal pieces. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { assign } from '../../../src/trainers/solvers/assignment.js';
import { type ExactPlan, transport } from '../../../src/trainers/solvers/networkSimplex.js';

function expectMarginals({ rows, columns, mass }: ExactPlan, a: readonly number[], b: readonly number[]): void {
  const [left, right] = [new Float64Array(a.length), new Float64Array(b.length)];
  for (const [e, value] of mass.entries()) {
    expect(value).toBeGreaterThan(0);
    left[rows[e]!]! += value;
    right[columns[e]!]! += value;
  }
  for (const [i, value] of a.entries()) expect(left[i]).toBeCloseTo(value, 10);
  for (const [j, value] of b.entries()) expect(right[j]).toBeCloseTo(value, 10);
  expect(mass.length).toBeLessThan(a.length + b.length);
}

/** No plan costs less than potentials that nowhere exceed the cost. */
function expectProven(plan: ExactPlan, cost: Float64Array, a: readonly number[], b: readonly number[]): void {
  const { rowPotentials: u, columnPotentials: v } = plan;
  const largest = Math.max(1, ...cost.map(Math.abs));
  for (const [at, value] of cost.entries()) {
    expect(u[Math.floor(at / b.length)]! + v[at % b.length]!).toBeLessThan(value + 1e-10 * largest);
  }
  const dual = a.reduce((sum, x, i) => sum + x * u[i]!, 0) + b.reduce((sum, x, j) => sum + x * v[j]!, 0);
  expect(plan.cost).toBeCloseTo(dual, 7);
}

const size = fc.integer({ min: 1, max: 7 });
const pieces = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 6 });

it('costs what the assignment of equal pieces costs, ties, empty and negative ones included', () => {
  const problem = fc
    .tuple(pieces, pieces)
    .filter(([a, b]) => a.some((x) => x > 0) && b.some((x) => x > 0))
    .chain(([a, b]) => {
      // The lesser side gets the rest as one more.
      const difference = a.reduce((x, y) => x + y, 0) - b.reduce((x, y) => x + y, 0);
      const [left, right] = [
        [...a, Math.max(0, -difference)],
        [...b, Math.max(0, difference)],
      ];
      const count = left.length * right.length;
      const costs = fc.array(fc.integer({ min: -3, max: 9 }), { minLength: count, maxLength: count });
      return fc.tuple(fc.constant(left), fc.constant(right), costs);
    });
  fc.assert(
    fc.property(problem, ([a, b, costs]) => {
      const cost = Float64Array.from(costs);
      const plan = transport(cost, Float64Array.from(a), Float64Array.from(b));
      const cut = (side: readonly number[]): number[] => side.flatMap((x, i) => new Array<number>(x).fill(i));
      const [rows, columns] = [cut(a), cut(b)];
      const single = Float64Array.from(rows.flatMap((i) => columns.map((j) => cost[i * b.length + j]!)));
      expectMarginals(plan, a, b);
      expect(plan.cost).toBeCloseTo(assign(single, rows.length, columns.length).cost, 9);
    }),
    { numRuns: 300 },
  );
});

it('has potentials that prove it, for masses and costs of every size', () => {
  const positive = fc.double({ min: 1e-6, max: 1, noNaN: true });
  const problem = fc.tuple(size, size).chain(([n, m]) => {
    const list = (length: number, of = positive) => fc.array(of, { minLength: length, maxLength: length });
    return fc.tuple(list(n), list(m), list(n * m, fc.double({ min: -1e3, max: 1e3, noNaN: true })));
  });
  fc.assert(
    fc.property(problem, ([left, right, costs]) => {
      const share = (side: number[]) => side.map((x) => x / side.reduce((s, y) => s + y, 0));
      const [a, b, cost] = [share(left), share(right), Float64Array.from(costs)];
      const plan = transport(cost, Float64Array.from(a), Float64Array.from(b));
      expectMarginals(plan, a, b);
      expectProven(plan, cost, a, b);
    }),
    { numRuns: 300 },
  );
});

it('ends with 300 by 200 points of unequal masses, proven', () => {
  const [n, m] = [300, 200];
  const a = Array.from({ length: n }, (_, i) => (2 * (i + 1)) / (n * (n + 1)));
  const b = Array.from({ length: m }, () => 1 / m);
  const cost = Float64Array.from({ length: n * m }, (_, at) => (Math.sin(at) + Math.cos(3 * at)) ** 2);
  const plan = transport(cost, Float64Array.from(a), Float64Array.from(b));
  expectMarginals(plan, a, b);
  expectProven(plan, cost, a, b);
});

it('refuses what has no plan', () => {
  const one = Float64Array.of(1);
  expect(() => transport(Float64Array.of(1, 2), one, one)).toThrow(/a cost for every pair/);
  expect(() => transport(Float64Array.of(Number.NaN), one, one)).toThrow(/not finite/);
  expect(() => transport(one, one, Float64Array.of(0.9))).toThrow(/masses of both sides differ/);
  expect(() => transport(one, Float64Array.of(-1), Float64Array.of(-1))).toThrow(/a mass is not a number/);
});
