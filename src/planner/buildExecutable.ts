/** Another executable for an existing plan: evaluation, or prediction at some batch size. */
import type { Graph } from '../graph/graph.js';
import { forwardOnly } from '../pipeline/forwardOnly.js';
import { type ChunkLayout, virtualStagesOn } from '../pipeline/virtualStages.js';
import { buildRankExecutable } from '../plan/executable.js';
import type { LoweredStage } from '../plan/lower.js';
import { chunkLayoutOf, coordinatesOf, numRanks } from '../plan/mesh.js';
import type { Executable, Plan } from '../plan/plan.js';
import { lowerForward } from './lowerModes.js';
import { ownersOf } from './ownership.js';
import { microBatchSizeOf, withFloatMetrics } from './prepare.js';
import { type SplitGraph, splitByParameters } from './split.js';

/** What of a plan a further executable depends on. Every Plan is one. */
export interface PlanContext extends Pick<Plan, 'mesh' | 'numChunks' | 'placement' | 'parameters'> {
  readonly ranks: readonly Pick<Plan['ranks'][number], 'parameters'>[];
}

export type ForwardMode = 'evaluate' | 'predict';

export interface ExecutableOptions {
  /** Default: the mode. */
  readonly name?: string;
  /** Default 1. */
  readonly numMicroBatches?: number;
  /** As in PlanInput. */
  readonly fusesChains?: boolean | undefined;
}

/**
 * One executable per rank, in rank order. `graph` is traced in `mode` at the micro-batch size wanted, and optimised; its
 * parameters are matched to the plan's by name and lie as the plan laid them.
 *
 * @throws MerakError 'plan/invalid' when the graph uses a parameter on a stage that does not hold it.
 */
export function buildExecutable(
  plan: PlanContext,
  mode: ForwardMode,
  graph: Graph,
  options: ExecutableOptions = {},
): Executable[] {
  const prepared = prepareForward(mode, graph);
  const split = splitByParameters(prepared, plan.mesh, chunkLayoutOf(plan), ownersOf(plan.parameters), false);
  return forwardExecutables(plan, mode, prepared, split, options);
}

/** Metrics are averaged, so they must be floats; predictions keep their type. */
export function prepareForward(mode: ForwardMode, graph: Graph): Graph {
  return mode === 'evaluate' ? withFloatMetrics(graph) : graph;
}

export function forwardExecutables(
  plan: PlanContext,
  mode: ForwardMode,
  graph: Graph,
  split: SplitGraph,
  options: ExecutableOptions,
): Executable[] {
  const { mesh } = plan;
  const numMicroBatches = options.numMicroBatches ?? 1;
  const layout = chunkLayoutOf(plan);
  const rankParameters = plan.ranks.map((rank) => rank.parameters);
  const context = { mesh, layout, numMicroBatches, rankParameters, fusesChains: options.fusesChains };
  const lowered = lowerForward(split, context, mode === 'evaluate' ? 'metrics' : 'outputs');
  const schedule = forwardOnly(layout, numMicroBatches);
  return Array.from({ length: numRanks(mesh) }, (_, rank) => {
    const { pp } = coordinatesOf(mesh, rank);
    return buildRankExecutable({
      name: options.name ?? mode,
      mesh,
      layout,
      rank,
      chunks: chunksOf(lowered, mesh, layout, rank),
      tasks: schedule.stages[pp] ?? [],
      closing: mode,
      numMicroBatches,
      microBatchSize: microBatchSizeOf(graph),
      reducesState: false,
    });
  });
}

/** The lowered chunks a rank runs, in order; replicas share them. */
export function chunksOf(
  lowered: readonly (readonly LoweredStage[])[],
  mesh: Plan['mesh'],
  layout: ChunkLayout,
  rank: number,
): LoweredStage[] {
  const { pp, tp } = coordinatesOf(mesh, rank);
  return virtualStagesOn(layout, pp).map((virtual) => {
    const chunk = lowered[tp]?.[virtual];
    if (chunk === undefined) throw new RangeError(`no stage ${virtual} for rank ${rank}`);
    return chunk;
  });
}
