/** One pair of graphs matched by one method, as plain figures that a resumed run keeps. */
import type { TrainerContext } from '../context.js';
import { assign } from '../solvers/assignment.js';
import { matchByConditionalGradient, matchByDegree } from './baselines.js';
import type { BASELINES, SigmaConfig } from './config.js';
import type { GraphPair } from './generate.js';
import type { Matcher } from './matcher.js';
import type { Problem } from './problems.js';
import { edgeOverlap, nodeCorrectness } from './score.js';

export type MatchResult = {
  readonly group: string;
  /** `K=2`, or a baseline. */
  readonly method: string;
  readonly overlap: number;
  /** Absent without a truth. */
  readonly correctness?: number;
  /** Of the matching after so many iterations; the last is the result's own. */
  readonly checkpoints: readonly {
    readonly iteration: number;
    readonly correctness: number;
    readonly overlap: number;
  }[];
  /** By iteration; empty for baselines. */
  readonly trueInconsistency: readonly number[];
  readonly objective: readonly number[];
  readonly hits: readonly { readonly k: number; readonly share: number }[];
  /** By source node, its target node. */
  readonly matching: readonly number[];
};

export type SigmaContext = TrainerContext<SigmaConfig>;

/** Mirror descent with K structure matrices. */
export function matchBySigma(
  context: SigmaContext,
  matcher: Matcher,
  { group, name, pair }: Problem,
  numMatrices: number,
): Promise<MatchResult> {
  const { iterations, reportAt, hitsAt } = context.config;
  const method = `K=${numMatrices}`;
  return context.stage(`${name}/${method.replace('=', '')}`, async (): Promise<MatchResult> => {
    await matcher.load(pair, numMatrices);
    const reported = new Set([...reportAt.filter((at) => at <= iterations), iterations]);
    const figures = await context.iterate(`${name}/${method.replace('=', '')}/steps`, {
      steps: iterations,
      keep: matcher.keep,
      // A plan of a few megabytes is computed again sooner than it is saved.
      saveEvery: savesEvery(pair, iterations),
      async step(index) {
        const found = await matcher.step();
        if (!reported.has(index + 1)) return found;
        const { correctness = Number.NaN, overlap } = await scoreNow(matcher, pair);
        return { ...found, correctness, overlap };
      },
    });
    const { columns, ...score } = await scoreNow(matcher, pair);
    const hits: { k: number; share: number }[] = [];
    if (pair.truth !== undefined) for (const k of hitsAt) hits.push({ k, share: await matcher.hits(k) });
    const checkpoints = [...reported]
      .sort((a, b) => a - b)
      .map((iteration) => {
        const { correctness, overlap } = figures[iteration - 1]!;
        return { iteration, correctness: correctness ?? Number.NaN, overlap: overlap! };
      });
    const trueInconsistency = pair.truth === undefined ? [] : figures.map((one) => one.trueInconsistency!);
    const objective = figures.map((one) => one.objective!);
    return { group, method, ...score, checkpoints, trueInconsistency, objective, hits, matching: [...columns] };
  });
}

const SMALL_PLAN = 250_000;

function savesEvery({ source, target }: GraphPair, iterations: number): number {
  return source.numNodes * target.numNodes < SMALL_PLAN ? iterations : Math.max(1, Math.ceil(iterations / 20));
}

async function scoreNow(matcher: Matcher, { source, target, truth }: GraphPair) {
  const { columns } = assign(await matcher.costs(), source.numNodes, target.numNodes);
  const overlap = edgeOverlap(columns, source, target);
  return { columns, overlap, ...(truth === undefined ? {} : { correctness: nodeCorrectness(columns, truth) }) };
}

export function matchByBaseline(
  context: SigmaContext,
  matcher: Matcher,
  { group, name, pair }: Problem,
  baseline: (typeof BASELINES)[number],
): Promise<MatchResult> {
  return context.stage(`${name}/${baseline}`, async (): Promise<MatchResult> => {
    const columns =
      baseline === 'degree'
        ? matchByDegree(pair)
        : await matchByConditionalGradient(matcher, pair, context.config.baselineIterations);
    const overlap = edgeOverlap(columns, pair.source, pair.target);
    const correctness = pair.truth === undefined ? {} : { correctness: nodeCorrectness(columns, pair.truth) };
    const nothing = { checkpoints: [], trueInconsistency: [], objective: [], hits: [] };
    return { group, method: baseline, overlap, ...correctness, ...nothing, matching: [...columns] };
  });
}
