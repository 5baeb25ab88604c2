/** The planner's front door: graphs and degrees in, a Plan out. */
import { MerakError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { checkSchedule, inFlightByVirtualStage } from '../pipeline/check.js';
import { scheduleByName } from '../pipeline/registry.js';
import type { Schedule, Task } from '../pipeline/schedule.js';
import { virtualStageOf } from '../pipeline/virtualStages.js';
import { chunkField } from '../plan/chunks.js';
import { buildRankExecutable } from '../plan/executable.js';
import { workspaceBytes } from '../plan/memoryReport.js';
import { buildGroups, chunkLayoutOf, coordinatesOf, numRanks } from '../plan/mesh.js';
import { layOutParameters, numMoments } from '../plan/parameters.js';
import type { Executable, LossScalePlan, Mesh, OptimizerPlan, Plan, RankPlan, WorkspaceOf } from '../plan/plan.js';
import type { RecomputeMode } from '../recompute/saved.js';
import type { SequenceParallel } from '../tensorparallel/search.js';
import { localShape } from '../tensorparallel/shards.js';
import { checkSubBatches } from '../tensorparallel/subPipeline.js';
import { chunksOf, type ForwardMode, forwardExecutables, prepareForward } from './buildExecutable.js';
import type { ClusterCosts } from './costs/planSimulation.js';
import { chooseDegrees } from './defaults.js';
import type { Precision } from './fuse.js';
import { keepRuleFor } from './keepRule.js';
import { localCosts } from './localCosts.js';
import { type LoweredModes, lowerTraining } from './lowerModes.js';
import { checkMemory, largestPeakBytes } from './memoryLimit.js';
import { parameterTable } from './parameterTable.js';
import { microBatchSizeOf, withFloatMetrics } from './prepare.js';
import { type SplitGraph, splitByParameters, splitTraining } from './split.js';
import { chooseSubBatches } from './subBatches.js';
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
  /** Model chunks per stage, where the schedule has several. Default 2. */
  readonly numChunks?: number | undefined;
  /** Default 'none'. */
  readonly recompute?: RecomputeMode | undefined;
  /** Sub-batches of a micro-batch that take turns at computing and exchanging (sub-pipelined tensor parallelism). Default: by cost. */
  readonly subBatches?: number | undefined;
  /** Whether values between the products are split along the sequence over the tensor axis. Default 'off'. */
  readonly sequenceParallel?: SequenceParallel | undefined;
  readonly optimizer: OptimizerPlan;
  /** Whether every data replica keeps the optimizer's moments of its piece of the parameters only (ZeRO-1). Default false. */
  readonly shardOptimizer?: boolean | undefined;
  /** Of training. Default 'f32'. */
  readonly precision?: Precision | undefined;
  /** Whether the engine runs chains of element-wise nodes as one (MerakFused): the CUDA engine does. Default false. */
  readonly fusesChains?: boolean | undefined;
  /** Global-norm threshold; 0 (default) is off. */
  readonly clipNorm?: number | undefined;
  /** Of precision 'f16', which cannot do without; others take no note of it. */
  readonly lossScale?: LossScalePlan | undefined;
  readonly seed?: number | undefined;
  /** Per rank. */
  readonly memoryLimitBytes?: number | undefined;
  /** Asked what kernels take beside the arenas, which then counts in the planned peak. Default: nobody, and it does not. */
  readonly workspaceOf?: WorkspaceOf | undefined;
  /** Bytes of the limit that recomputation leaves to kernels. Default 0, and more where the first plan shows it. */
  readonly workspaceBytes?: number | undefined;
  /** What stages are balanced by. Default: cores of the reference CPU. */
  readonly costs?: ClusterCosts | undefined;
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
  const recompute = input.recompute ?? 'none';
  const schedule = scheduleByName(input.schedule ?? '1f1b', mesh.pp, numMicroBatches, {
    recomputes: recompute !== 'none',
    numChunks: input.numChunks,
  });
  checkSchedule(schedule);
  if (recompute === 'auto' && hasWeightTasks(schedule)) {
    // Where all fits, the order of tasks is another one: none of these lists leaves room for recomputation.
    const kept = buildPlan({ ...input, recompute: 'none', memoryLimitBytes: undefined });
    if (largestPeakBytes(kept) <= (input.memoryLimitBytes ?? Number.POSITIVE_INFINITY)) return kept;
  }
  const { numChunks = 1, placement } = schedule;
  const chunking = numChunks === 1 ? {} : { numChunks, placement: placement ?? 'loop' };
  const chunkLayout = chunkLayoutOf({ mesh, ...chunking });

  const costs = input.costs ?? localCosts();
  const communicatorBytes = costs.communicatorBytes?.(mesh, numChunks) ?? 0;
  const split = splitTraining(
    train,
    mesh,
    {
      schedule,
      inFlight: inFlightByVirtualStage(schedule),
      recompute,
      costs,
      memoryLimitBytes: (input.memoryLimitBytes ?? Number.POSITIVE_INFINITY) - communicatorBytes,
      numMoments: numMoments(input.optimizer),
      optimizerPieces: input.shardOptimizer === true ? mesh.dp : 1,
      precision: input.precision,
    },
    input.sequenceParallel,
  );
  const forward = (['evaluate', 'predict'] as const).flatMap((mode): ForwardModeGraph[] => {
    const graph = input[mode];
    if (graph === undefined) return [];
    const prepared = prepareForward(mode, graph);
    return [{ mode, graph: prepared, split: splitByParameters(prepared, mesh, chunkLayout, split, false) }];
  });
  const { parameters, updated } = parameterTable({ graph: train, split }, forward, chunkLayout);
  const localShapes = parameters.map(({ layout, shape }) => localShape(layout, shape, mesh.tp));
  const groups = buildGroups(
    mesh,
    parameters.map(({ stages }) => stages),
  );
  const optimizer = input.optimizer;
  const lossScale = lossScaleOf(input);
  const ranks = Array.from({ length: numRanks(mesh) }, (_, rank): Omit<RankPlan, 'executables'> => {
    const layout = layOutParameters({
      mesh,
      rank,
      groups,
      parameters,
      localShapes,
      updated,
      optimizer,
      shardOptimizer: input.shardOptimizer,
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
      ...(lossScale !== undefined && { lossScale }),
    };
  });

  const subBatches = input.subBatches ?? chooseSubBatches(split, microBatchSize, mesh.tp, costs);
  const numSubBatches = checkSubBatches(subBatches, microBatchSize, mesh.tp);
  const rankParameters = ranks.map((rank) => rank.parameters);
  const { fusesChains } = input;
  const precision = input.precision ?? 'f32';
  const context = { mesh, layout: chunkLayout, numMicroBatches, numSubBatches, rankParameters, precision, fusesChains };
  const splitsWeights = hasWeightTasks(schedule);
  const planContext = { mesh, ...chunking, parameters, ranks };
  const others = forward.map(({ mode, graph, split: parts }) =>
    forwardExecutables(planContext, mode, graph, parts, { numMicroBatches, fusesChains }),
  );
  const { memoryLimitBytes } = input;
  const keep = keepRuleFor({
    mode: recompute,
    costs: { ...costs, tensorRanks: mesh.tp },
    schedule,
    ranks,
    others,
    memoryLimitBytes,
    workspaceBytes: (input.workspaceBytes ?? 0) + communicatorBytes,
  });
  const training = lowerTraining(split, context, keep, splitsWeights);
  const tasks = effectiveTasks(schedule, training);
  const trainExecutable = (rank: Omit<RankPlan, 'executables'>): Executable =>
    buildRankExecutable({
      name: 'train',
      mesh,
      layout: chunkLayout,
      rank: rank.rank,
      chunks: chunksOf(training.lowered, mesh, chunkLayout, rank.rank),
      tasks: tasks[rank.coordinates.pp] ?? [],
      closing: 'train',
      numMicroBatches,
      microBatchSize,
      reducesState: rank.stateBuckets.length > 0,
    });
  const complete = ranks.map(
    (rank): RankPlan => ({
      ...rank,
      ...(communicatorBytes > 0 && { communicatorBytes }),
      executables: [trainExecutable(rank), ...others.flatMap((perRank) => perRank[rank.rank] ?? [])].map(
        (executable) =>
          input.workspaceOf === undefined
            ? executable
            : { ...executable, workspace: input.workspaceOf(executable, rank) },
      ),
    }),
  );
  const plan: Plan = {
    mesh,
    scheduleName: schedule.name,
    numMicroBatches,
    microBatchSize,
    numSubBatches,
    sequenceParallel: input.sequenceParallel ?? 'off',
    ...chunking,
    seed: input.seed ?? 0,
    parameters,
    schedule: tasks,
    stages: summariseStages(split, training, complete, chunkLayout),
    ranks: complete,
  };
  if (input.memoryLimitBytes !== undefined) {
    const taken = Math.max(...complete.map(({ executables }) => workspaceBytes(executables)));
    // What kernels take is known once there is a plan; recomputation then has so much less to keep values in.
    if (
      recompute === 'auto' &&
      taken > (input.workspaceBytes ?? 0) &&
      largestPeakBytes(plan) > input.memoryLimitBytes
    ) {
      return buildPlan({ ...input, workspaceBytes: taken });
    }
    checkMemory(plan, input.memoryLimitBytes, (change) =>
      buildPlan({ ...input, mesh, memoryLimitBytes: undefined, ...change }),
    );
  }
  return plan;
}

function hasWeightTasks(schedule: Schedule): boolean {
  return schedule.stages.some((tasks) => tasks.some(({ kind }) => kind === 'W'));
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

/** Early recomputation is dropped where there is nothing to recompute. */
function effectiveTasks(schedule: Schedule, { lowered }: LoweredModes): Task[][] {
  return schedule.stages.map((tasks, stage) =>
    tasks.flatMap(({ kind, micro, chunk = 0 }): Task[] => {
      const programs = lowered[0]?.[virtualStageOf(schedule, stage, chunk)]?.programs ?? [];
      const isIdle = kind === 'R' && !programs.some((program) => program.kind === 'recompute');
      return isIdle ? [] : [{ kind, micro, ...chunkField(chunk) }];
    }),
  );
}

/** Undefined where gradients are kept in formats that small ones do not vanish in. */
function lossScaleOf({ precision, lossScale }: PlanInput): LossScalePlan | undefined {
  if (precision !== 'f16') return undefined;
  if (lossScale === undefined)
    throw new MerakError('config/invalid', 'float16 needs a loss scale', { path: 'lossScale' });
  return lossScale;
}
