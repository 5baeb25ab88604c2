/** One problem solved by one method, as plain figures that a resumed run keeps. */
import type { TrainerContext } from '../context.js';
import { transport as exactTransport } from '../solvers/networkSimplex.js';
import type { OtConfig } from './config.js';
import { lowRankSinkhorn } from './lowRankSinkhorn.js';
import { normalise } from './normalise.js';
import { costOf, type FactoredPlan, marginalResidual, roundToMarginals, squaredDistance } from './plan.js';
import type { Transport } from './points.js';
import { sinkhornBaseline } from './sinkhorn.js';
import { openSolver } from './solver.js';

export type OtContext = TrainerContext<OtConfig>;

export type Solution = {
  readonly problem: string;
  readonly method: string;
  /** Of the plan rounded to exact marginals, in the clouds' own units. */
  readonly cost: number;
  /** L1 distance of both marginals before rounding, and after. */
  readonly residual: number;
  readonly rounded: number;
  /** Numbers stored, an entry's place counting as two. */
  readonly numbers: number;
  /** Share of the mass in the sparse part. */
  readonly sparseMass: number;
  readonly seconds: number;
  /** Bytes a worker's arenas took; 0 where none ran. */
  readonly workerBytes: number;
  readonly costs: readonly number[];
  readonly residuals: readonly number[];
};

/** The method of the recipe; with a budget of 0 its low-rank part alone. */
export function solveFactored(
  context: OtContext,
  transport: Transport,
  rank: number,
  budget: number,
): Promise<{ readonly solution: Solution; readonly plan: SavedPlan }> {
  const { config, seed } = context;
  const { inner, outer, penalty, warmUp, refresh, scanBytes } = config;
  const numEntries = Math.round(budget * transport.x.size);
  const method = budget === 0 ? `rank ${rank}` : `rank ${rank} + ${budget} n`;
  const key = `${keyOf(transport)}/rank${rank}-${budget}`;
  return context.stage(key, async () => {
    const group = await context.spmd();
    const began = performance.now();
    try {
      const options = { rank, numEntries, inner, penalty, scanBytes, seed };
      const solver = openSolver(group, normalise(transport), options);
      await solver.begin();
      const steps = await context.iterate(`${key}/steps`, {
        steps: outer,
        keep: solver.keep,
        saveEvery: transport.x.size * rank < SMALL ? outer : Math.ceil(outer / 20),
        async step(index) {
          if (index >= warmUp && (index - warmUp) % refresh === 0) await solver.refresh();
          return { ...(await solver.step()) };
        },
      });
      const workerBytes = await solver.memory();
      const solution = measure(transport, await solver.plan());
      const last = steps.at(-1)!;
      context.log.info(`${transport.name}, ${method}: cost ${solution.cost}, residual ${last.residual}`);
      return {
        solution: {
          problem: transport.name,
          method,
          ...solution.figures,
          cost: solution.cost,
          seconds: (performance.now() - began) / 1000,
          workerBytes,
          costs: steps.map(({ cost }) => cost!),
          residuals: steps.map(({ residual }) => residual!),
        },
        plan: savedPlan(solution.plan),
      };
    } finally {
      await group.close();
    }
  });
}

const SMALL = 10_000;

export type SavedPlan = {
  readonly rank: number;
  readonly q: readonly number[];
  readonly r: readonly number[];
  readonly rows: readonly number[];
  readonly columns: readonly number[];
  readonly values: readonly number[];
};

function savedPlan({ rank, q, r, rows, columns, values }: FactoredPlan): SavedPlan {
  return { rank, q: [...q], r: [...r], rows: [...rows], columns: [...columns], values: [...values] };
}

function measure({ x, y }: Transport, before: FactoredPlan) {
  const plan = roundToMarginals(before, x.mass, y.mass);
  return {
    plan,
    cost: costOf(plan, x, y),
    figures: {
      residual: marginalResidual(before, x.mass, y.mass),
      rounded: marginalResidual(plan, x.mass, y.mass),
      numbers: before.q.length + before.r.length + 3 * before.values.length,
      sparseMass: plan.values.reduce((sum, value) => sum + value, 0),
    },
  };
}

export function solveBySinkhorn(context: OtContext, transport: Transport): Promise<Solution> {
  return context.stage(`${keyOf(transport)}/sinkhorn`, async (): Promise<Solution> => {
    const { sinkhornEpsilon: epsilon, sinkhornRounds: rounds } = context.config;
    const group = await context.spmd();
    const began = performance.now();
    try {
      const { cost, residual } = await sinkhornBaseline(group, normalise(transport), { epsilon, rounds });
      const numbers = transport.x.size * transport.y.size;
      const seconds = (performance.now() - began) / 1000;
      return { ...baseline(transport, `Sinkhorn, epsilon ${epsilon}`, cost, seconds), residual, numbers };
    } finally {
      await group.close();
    }
  });
}

/** By the network simplex, where neither side has too many points; else undefined. */
export async function solveExactly(context: OtContext, transport: Transport): Promise<Solution | undefined> {
  const { x, y } = transport;
  if (Math.max(x.size, y.size) > context.config.exactLimit) return undefined;
  return context.stage(`${keyOf(transport)}/exact`, async (): Promise<Solution> => {
    const began = performance.now();
    const [n, m] = [x.size, y.size];
    const costs = Float64Array.from({ length: n * m }, (_, at) => squaredDistance(x, Math.floor(at / m), y, at % m));
    const { cost, mass } = exactTransport(costs, x.mass, y.mass);
    const seconds = (performance.now() - began) / 1000;
    return { ...baseline(transport, 'exact', cost, seconds), numbers: 3 * mass.length };
  });
}

/** Factors of low rank by mirror descent, a baseline. */
export function solveByLowRankSinkhorn(context: OtContext, transport: Transport, rank: number): Promise<Solution> {
  return context.stage(`${keyOf(transport)}/low-rank-sinkhorn-${rank}`, async (): Promise<Solution> => {
    const { lowRankSteps: steps, lowRankRounds: rounds } = context.config;
    const group = await context.spmd();
    const began = performance.now();
    try {
      const options = { rank, steps, rounds, seed: context.seed };
      const { cost, figures } = measure(transport, await lowRankSinkhorn(group, normalise(transport), options));
      const seconds = (performance.now() - began) / 1000;
      return { ...baseline(transport, `low-rank Sinkhorn ${rank}`, cost, seconds), ...figures };
    } finally {
      await group.close();
    }
  });
}

function baseline({ name }: Transport, method: string, cost: number, seconds: number): Solution {
  const nothing = { residual: 0, rounded: 0, numbers: 0, sparseMass: 0, workerBytes: 0, costs: [], residuals: [] };
  return { problem: name, method, cost, seconds, ...nothing };
}

function keyOf({ name }: Transport): string {
  return name.replaceAll('=', '').replaceAll(' ', '-');
}
