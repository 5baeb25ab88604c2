/** Choosing what to keep: exact at any price per byte, within the budget, and the closed form for equal stages. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { differentiate } from '../../src/autodiff/differentiate.js';
import { nodeFlops } from '../../src/graph/cost.js';
import { candidateWeights, chooseKept, keptAtPrice } from '../../src/recompute/chooseKept.js';
import { type KeepProblem, keepProblem, recomputeSeconds, repeatedNodes } from '../../src/recompute/keepProblem.js';
import { keptFractions } from '../../src/recompute/keptFractions.js';
import { CutGraph } from '../../src/recompute/minimumCut.js';
import { graphOf, type Recipe, recipes } from '../partitioner/graphs.js';

function problemOf(steps: readonly Recipe[]): KeepProblem {
  const graph = graphOf(steps);
  const derivative = differentiate({ stage: 0, graph, parameterOf: graph.parameters.map((_, index) => index) });
  return keepProblem(derivative, (whole, node) => 1 + nodeFlops(whole, node));
}

function subsets(size: number): Set<number>[] {
  return Array.from(
    { length: 2 ** size },
    (_, bits) => new Set(Array.from({ length: size }, (__, i) => i).filter((i) => bits & (1 << i))),
  );
}

describe('the minimum cut', () => {
  it('equals the smallest of all cuts', () => {
    const edges = fc.array(fc.tuple(fc.nat(5), fc.nat(5), fc.nat(9)), { maxLength: 14 });
    fc.assert(
      fc.property(edges, (list) => {
        const graph = new CutGraph();
        for (let vertex = 0; vertex < 6; vertex++) graph.addVertex();
        for (const [from, to, capacity] of list) graph.addEdge(from, to, capacity);
        const pays = (side: (vertex: number) => boolean) =>
          list.reduce((sum, [from, to, capacity]) => sum + (side(from) && !side(to) ? capacity : 0), 0);
        const found = graph.cut(0, 5);
        const all = subsets(4).map((inner) => pays((v) => v === 0 || (v < 5 && inner.has(v - 1))));
        expect(found[0] && !found[5]).toBe(true);
        expect(pays((v) => found[v] === true)).toBe(Math.min(...all));
      }),
    );
  });
});

describe('chooseKept', () => {
  it('minimises seconds plus price times bytes, for any price', () => {
    fc.assert(
      fc.property(
        recipes,
        fc.integer({ min: 2, max: 4 }),
        fc.double({ min: 1e-3, max: 10, noNaN: true }),
        (steps, k, p) => {
          const problem = problemOf(steps);
          const size = problem.candidates.length;
          fc.pre(size <= 12 && problem.nodes.every(({ seconds }) => Number.isFinite(seconds)));
          const weights = candidateWeights(problem, { numInFlight: k, bytes: 0 });
          const price = (kept: ReadonlySet<number>) =>
            recomputeSeconds(problem, kept) + p * [...kept].reduce((sum, index) => sum + weights[index]!, 0);
          const best = Math.min(...subsets(size).map(price));
          // The tie-break shifts costs by up to a thousandth.
          expect(price(keptAtPrice(problem, weights, p))).toBeLessThanOrEqual(best * 1.001);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('fits every budget that can be fitted, and more bytes never cost seconds', () => {
    fc.assert(
      fc.property(recipes, fc.integer({ min: 1, max: 5 }), (steps, numInFlight) => {
        const problem = problemOf(steps);
        const most = numInFlight * problem.neededBytes;
        let before = Number.POSITIVE_INFINITY;
        for (const share of [0.3, 0.5, 0.7, 0.9, 1]) {
          const bytes = Math.max(problem.neededBytes, share * most);
          const choice = chooseKept(problem, { numInFlight, bytes });
          const forced = repeatedNodes(problem, choice.kept).some((n) => !Number.isFinite(problem.nodes[n]!.seconds));
          expect(forced).toBe(false);
          if (problem.nodes.every(({ seconds }) => Number.isFinite(seconds))) {
            expect(choice.bytes).toBeLessThanOrEqual(bytes);
          }
          expect(choice.recomputeSeconds).toBeLessThanOrEqual(before * 1.5 + 1e-9);
          before = choice.recomputeSeconds;
        }
        expect(before).toBe(0);
      }),
      { numRuns: 40 },
    );
  });

  it('a micro-batch alone in flight keeps everything: it costs nothing', () => {
    const problem = problemOf([0, 1, 2].map((parameter) => ({ kind: 'dense', a: 1, b: 1, parameter }) as const));
    const choice = chooseKept(problem, { numInFlight: 1, bytes: problem.neededBytes });
    expect(choice.recomputeSeconds).toBe(0);
  });
});

/** Many equal operators in a chain, each needing its own result in the backward pass. */
function chain(length: number): KeepProblem {
  const steps = Array.from({ length }, (_, index) => index);
  return {
    candidates: steps.map((index) => ({ value: index, bytes: 64, producer: index, needed: true })),
    nodes: steps.map((index) => ({ seconds: 1, inputs: index === 0 ? [] : [index - 1] })),
    neededBytes: 64 * length,
  };
}

describe('the closed form n_i', () => {
  it('is the table of merak.md', () => {
    const rounded = keptFractions(8, 0.2).map((fraction) => Math.round(fraction * 100) / 100);
    expect(rounded).toEqual([0.2, 0.23, 0.28, 0.35, 0.47, 0.7, 1, 1]);
    const activations = keptFractions(8, 0.2).map((fraction, stage) => (7 - stage) * fraction + 1);
    expect(activations.map((a) => Math.round(a * 10) / 10)).toEqual([2.4, 2.4, 2.4, 2.4, 2.4, 2.4, 2, 1]);
  });

  it('is what the choice by bytes and seconds comes to on equal stages under 1F1B', () => {
    const length = 120;
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 12 }), fc.integer({ min: 0, max: 10 }), (numStages, tenths) => {
        const problem = chain(length);
        const cap = ((numStages - 1) * (tenths / 10) + 1) * problem.neededBytes;
        keptFractions(numStages, tenths / 10).forEach((fraction, stage) => {
          const { recomputeSeconds: again } = chooseKept(problem, { numInFlight: numStages - stage, bytes: cap });
          expect(Math.abs(1 - again / length - fraction)).toBeLessThanOrEqual(1.01 / length);
        });
      }),
      { numRuns: 15 },
    );
  });
});
