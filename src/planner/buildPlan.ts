/** The planner's front door: graphs and degrees in, a Plan out. */
import { MerakError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { checkSchedule } from '../pipeline/check.js';
import { scheduleByName } from '../pipeline/registry.js';
import type { Schedule, Task } from '../pipeline/schedule.js';
import { buildRankExecutable } from '../plan/executable.js';
import { buildGroups, coordinatesOf, numRanks } from '../plan/mesh.js';
import { layOutParameters } from '../plan/parameters.js';
import type { Executable, Mesh, OptimizerPlan, Plan, RankPlan } from '../plan/plan.js';
import { type RecomputeMode, recomputingStages } from '../recompute/saved.js';
import { localShape } from '../tensorparallel/shards.js';
import { type ForwardMode, forwardExecutables, loweredOf, prepareForward } from './buildExecutable.js';
import { chooseDegrees } from './defaults.js';
import { lowerTraining } from './lowerModes.js';
import { checkMemory } from './memoryLimit.js';
import { parameterTable } from './parameterTable.js';
import { microBatchSizeOf, withFloatMetrics } from './prepare.js';
import { type SplitGraph, splitByParameters, splitTraining } from './split.js';
import { summariseStages } from './summary.js';

export interface PlanInput {
  /** Traced in mode 'train' at the micro-batch size, optimised. */
  readonly train: Graph;
  readonly evaluate?: Graph | undefined;
  readonly predict?: Graph | undefined;
  /** Degrees not given are filled from `workers` (chooseDegrees). */
  readonly mesh?: Partial<Mesh> | undefined;
  readonly workers?: number | undefined;
  /** Default 1 without a pipeline, else twice the stages. */
  readonly numMicroBatches?: number | undefined;
  readonly microBatchSize?: number | undefined;
  /** Default '1f1b'. */
  readonly schedule?: string | undefined;
  /** Default 'none'. */
  readonly recompute?: RecomputeMode | undefined;
  readonly optimizer: OptimizerPlan;
  /** Global-norm threshold; 0 (default) is off. */
  readonly clipNorm?: number | undefined;
  readonly seed?: number | undefined;
  /** Per rank. */
  readonly memoryLimitBytes?: number | undefined;
}

/**
 * Chooses layouts and stages by cost, differentiates, lowers, and lays out every rank's memory. Executables: 'train', and
 * 'evaluate' and 'predict' when their graphs are given. Pure and deterministic; starts nothing.
 *
 * @throws MerakError 'config/degrees', 'config/batch', 'config/invalid', 'plan/too-many-stages', 'plan/out-of-memory',
 *   'layout/illegal', 'autodiff/no-gradient'.
 */
export function buildPlan(input: PlanInput): Plan {
  const { mesh } = chooseDegrees({ workers: input.workers, ...input.mesh });
  const numMicroBatches = input.numMicroBatches ?? (mesh.pp === 1 ? 1 : 2 * mesh.pp);
  const train = withFloatMetrics(input.train);
  const microBatchSize = checkMicroBatch(train, input.microBatchSize);
  const schedule = scheduleByName(input.schedule ?? '1f1b', mesh.pp, numMicroBatches);
  const recomputes = recomputingStages(input.recompute ?? 'none', schedule.name, mesh.pp);
  checkSchedule(schedule);

  const split = splitTraining(train, mesh, recomputes);
  const forward = (['evaluate', 'predict'] as const).flatMap((mode): ForwardModeGraph[] => {
    const graph = input[mode];
    if (graph === undefined) return [];
    const prepared = prepareForward(mode, graph);
    return [{ mode, graph: prepared, split: splitByParameters(prepared, mesh, split.layouts, split.stagesOf) }];
  });
  const { parameters, updated } = parameterTable({ graph: train, split }, forward);
  const localShapes = parameters.map(({ layout, shape }) => localShape(layout, shape, mesh.tp));
  const groups = buildGroups(mesh, parameters.map(({ stages }) => stages));
  const optimizer = input.optimizer;
  const ranks = Array.from({ length: numRanks(mesh) }, (_, rank): Omit<RankPlan, 'executables'> => {
    const layout = layOutParameters({
      mesh,
      rank,
      groups,
      parameters,
      localShapes,
      updated,
      optimizer,
      numMicroBatches,
    });
    return {
      rank,
      coordinates: coordinatesOf(mesh, rank),
      mesh,
      groups,
      parameters: layout.parameters,
      persistentSpaces: layout.spaces,
      persistentBytes: layout.totalBytes,
      gradientBuckets: layout.gradientBuckets,
      stateBuckets: layout.stateBuckets,
      optimizer,
      clipNorm: input.clipNorm ?? 0,
    };
  });

  const context = { mesh, numMicroBatches, rankParameters: ranks.map((rank) => rank.parameters) };
  const training = lowerTraining(split, context, recomputes);
  const tasks = effectiveTasks(schedule, recomputes);
  const trainExecutable = (rank: Omit<RankPlan, 'executables'>): Executable =>
    buildRankExecutable({
      name: 'train',
      mesh,
      rank: rank.rank,
      lowered: loweredOf(training.lowered, mesh, rank.rank),
      tasks: tasks[rank.coordinates.pp] ?? [],
      closing: 'train',
      numMicroBatches,
      microBatchSize,
      reducesState: rank.stateBuckets.length > 0,
    });
  const planContext = { mesh, parameters, ranks };
  const others = forward.map(({ mode, graph, split: parts }) =>
    forwardExecutables(planContext, mode, graph, parts, { numMicroBatches }),
  );
  const complete = ranks.map((rank): RankPlan => ({
    ...rank,
    executables: [trainExecutable(rank), ...others.flatMap((perRank) => perRank[rank.rank] ?? [])],
  }));
  const plan: Plan = {
    mesh,
    scheduleName: schedule.name,
    numMicroBatches,
    microBatchSize,
    seed: input.seed ?? 0,
    parameters,
    schedule: tasks,
    stages: summariseStages(split, training, complete, recomputes),
    ranks: complete,
  };
  if (input.memoryLimitBytes !== undefined) {
    checkMemory(plan, input.memoryLimitBytes, (change) =>
      buildPlan({ ...input, mesh, memoryLimitBytes: undefined, ...change }),
    );
  }
  return plan;
}

interface ForwardModeGraph {
  readonly mode: ForwardMode;
  readonly graph: Graph;
  readonly split: SplitGraph;
}

function checkMicroBatch(graph: Graph, claimed: number | undefined): number {
  const traced = microBatchSizeOf(graph);
  if (claimed === undefined || claimed === traced) return traced;
  throw new MerakError('config/batch', 'the training graph was traced at another micro-batch size', {
    expected: String(claimed),
    received: String(traced),
  });
}

/** Early recomputation is dropped on stages that keep everything. */
function effectiveTasks(schedule: Schedule, recomputes: readonly boolean[]): Task[][] {
  return schedule.stages.map((tasks, stage) => tasks.filter(({ kind }) => kind !== 'R' || recomputes[stage]));
}
