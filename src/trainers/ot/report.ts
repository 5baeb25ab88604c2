/** The table and pictures of a run. */
import { charts } from '../../index.js';
import type { Table } from '../context.js';
import type { Figures } from '../trainer.js';
import type { Transport } from './points.js';
import type { Solution } from './solve.js';

/** Cost above the exact one, as a share of it; undefined where that is not known. */
export function excessOf(one: Solution, all: readonly Solution[]): number | undefined {
  const exact = all.find(({ problem, method }) => problem === one.problem && method === 'exact');
  return exact === undefined ? undefined : one.cost / exact.cost - 1;
}

export function solutionTable(all: readonly Solution[], transports: readonly Transport[]): Table {
  return {
    title: 'Optimal transport',
    columns: [
      'problem',
      'method',
      'cost',
      'excess %',
      'residual',
      'rounded',
      'numbers',
      'sparse mass',
      's',
      'worker MB',
    ],
    rows: all.map((one) => {
      const excess = excessOf(one, all);
      return [
        one.problem,
        one.method,
        one.cost,
        excess === undefined ? '-' : 100 * excess,
        one.residual,
        one.rounded,
        one.numbers,
        one.sparseMass,
        one.seconds,
        Math.round(one.workerBytes / 1e6),
      ];
    }),
    notes: [
      'Cost and excess over the exact cost: of the plan rounded to exact marginals. Residual: L1 distance of both marginals before rounding, and after.',
      'Numbers: stored for the plan, three for each sparse entry.',
      ...transports.flatMap(({ name, populationCost }) =>
        populationCost === undefined
          ? []
          : [`${name}: between the distributions themselves ${populationCost.toFixed(4)}.`],
      ),
    ],
  };
}

export function excessChart(all: readonly Solution[]) {
  return charts.bars({
    title: 'Cost above the exact one',
    y: '%',
    bars: all.flatMap((one) => {
      const excess = excessOf(one, all);
      if (excess === undefined || one.method === 'exact') return [];
      return [{ category: one.problem, name: one.method, value: 100 * excess }];
    }),
  });
}

export function residualChart(all: readonly Solution[]) {
  return charts.lines({
    title: 'Marginal residual before rounding',
    x: 'outer iteration',
    y: 'L1',
    logY: true,
    series: all
      .filter(({ residuals }) => residuals.length > 0)
      .map(({ problem, method, residuals }) => {
        return { name: method, panel: problem, x: residuals.map((_, i) => i), y: residuals };
      }),
  });
}

export function headline(all: readonly Solution[]): Figures {
  return Object.fromEntries(
    all.flatMap((one): [string, number][] => {
      const name = `${one.problem}, ${one.method}`;
      const excess = excessOf(one, all);
      return [
        [`cost ${name}`, one.cost],
        ...(excess === undefined ? [] : [[`excess ${name}`, excess] as [string, number]]),
      ];
    }),
  );
}
