/** Plans and rank plans on the wire: parameters, groups, layouts, optimizers, summaries. */
import type { Initializer } from '../graph/graph.js';
import type { Task } from '../pipeline/schedule.js';
import type { Layout } from '../tensorparallel/layout.js';
import { chunkField } from './chunks.js';
import type {
  Bucket,
  Group,
  OptimizerPlan,
  ParameterPlan,
  Plan,
  RankParameter,
  RankPlan,
  StageSummary,
} from './plan.js';
import {
  AXES,
  DTYPES,
  INITIALIZERS,
  LAYOUTS,
  nameOf,
  numberOf,
  PLACEMENTS,
  PROGRAM_DTYPES,
  RECOMPUTATIONS,
  TASKS,
} from './wireEnums.js';
import {
  executableFromWire,
  executableToWire,
  spaceFromWire,
  spaceToWire,
  type WireExecutable,
  type WireSpace,
} from './wireExecutable.js';

interface WireLayout {
  readonly kind: number;
  readonly dim?: number;
  readonly parts?: number;
  readonly paddedSize?: number;
}

interface WireInitializer {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
}

interface WireParameter extends Omit<ParameterPlan, 'dtype' | 'layout' | 'initializer'> {
  readonly dtype: number;
  readonly layout: WireLayout;
  readonly initializer?: WireInitializer | null;
}

interface WireRankParameter extends Omit<RankParameter, 'dtype' | 'owned'> {
  readonly dtype: number;
  readonly owned?: RankParameter['owned'] | null;
}

type Of<K extends OptimizerPlan['kind']> = Omit<Extract<OptimizerPlan, { kind: K }>, 'kind'>;

/** merak.plan.Optimizer: exactly one is set. */
interface WireOptimizer {
  readonly sgd?: Of<'sgd'> | null;
  readonly momentum?: Of<'momentum'> | null;
  readonly rmsprop?: Of<'rmsprop'> | null;
  readonly adam?: Of<'adam'> | null;
}

export interface WireRankPlan
  extends Omit<RankPlan, 'groups' | 'parameters' | 'persistentSpaces' | 'optimizer' | 'executables'> {
  readonly groups: readonly (Omit<Group, 'axis'> & { readonly axis: number })[];
  readonly parameters: readonly WireRankParameter[];
  readonly persistentSpaces: readonly WireSpace[];
  readonly optimizer: WireOptimizer;
  readonly executables: readonly WireExecutable[];
}

interface WireStage extends Omit<StageSummary, 'recompute'> {
  readonly recompute: number;
}

export interface WirePlan extends Omit<Plan, 'parameters' | 'schedule' | 'stages' | 'ranks' | 'placement'> {
  readonly placement: number;
  readonly parameters: readonly WireParameter[];
  readonly schedule: readonly { readonly tasks: readonly (Omit<Task, 'kind'> & { readonly kind: number })[] }[];
  readonly stages: readonly WireStage[];
  readonly ranks: readonly WireRankPlan[];
}

export function planToWire(plan: Plan): WirePlan {
  return {
    ...plan,
    placement: numberOf(PLACEMENTS, plan.placement ?? 'loop'),
    parameters: plan.parameters.map(parameterToWire),
    schedule: plan.schedule.map((tasks) => ({
      tasks: tasks.map((task) => ({ ...task, kind: numberOf(TASKS, task.kind) })),
    })),
    stages: plan.stages.map((stage) => ({ ...stage, recompute: numberOf(RECOMPUTATIONS, stage.recompute) })),
    ranks: plan.ranks.map(rankPlanToWire),
  };
}

export function planFromWire(wire: WirePlan): Plan {
  return {
    mesh: wire.mesh,
    scheduleName: wire.scheduleName,
    numMicroBatches: wire.numMicroBatches,
    microBatchSize: wire.microBatchSize,
    ...(wire.numSubBatches ? { numSubBatches: wire.numSubBatches } : {}),
    ...(wire.sequenceParallel ? { sequenceParallel: wire.sequenceParallel } : {}),
    // A stage of one chunk has no placement to speak of.
    ...(wire.numChunks ? { numChunks: wire.numChunks, placement: nameOf(PLACEMENTS, wire.placement) } : {}),
    seed: wire.seed,
    parameters: wire.parameters.map(parameterFromWire),
    schedule: wire.schedule.map(({ tasks }) =>
      tasks.map(({ kind, micro, chunk }) => ({ kind: nameOf(TASKS, kind), micro, ...chunkField(chunk) })),
    ),
    stages: wire.stages.map((stage) => ({ ...stage, recompute: nameOf(RECOMPUTATIONS, stage.recompute) })),
    ranks: wire.ranks.map(rankPlanFromWire),
  };
}

export function rankPlanToWire(plan: RankPlan): WireRankPlan {
  return {
    ...plan,
    groups: plan.groups.map((group) => ({ ...group, axis: numberOf(AXES, group.axis) })),
    parameters: plan.parameters.map((parameter) => ({
      ...parameter,
      dtype: numberOf(PROGRAM_DTYPES, parameter.dtype),
    })),
    persistentSpaces: plan.persistentSpaces.map(spaceToWire),
    optimizer: { [plan.optimizer.kind]: plan.optimizer },
    executables: plan.executables.map(executableToWire),
  };
}

export function rankPlanFromWire(wire: WireRankPlan): RankPlan {
  return {
    rank: wire.rank,
    coordinates: wire.coordinates,
    mesh: wire.mesh,
    groups: wire.groups.map((group) => ({ ...group, axis: nameOf(AXES, group.axis) })),
    parameters: wire.parameters.map(rankParameterFromWire),
    persistentSpaces: wire.persistentSpaces.map(spaceFromWire),
    persistentBytes: wire.persistentBytes,
    gradientBuckets: wire.gradientBuckets.map(bucketFromWire),
    stateBuckets: wire.stateBuckets.map(bucketFromWire),
    optimizer: optimizerFromWire(wire.optimizer),
    clipNorm: wire.clipNorm,
    ...(wire.lossScale ? { lossScale: wire.lossScale } : {}),
    executables: wire.executables.map(executableFromWire),
  };
}

function rankParameterFromWire({ owned, dtype, ...parameter }: WireRankParameter): RankParameter {
  return { ...parameter, dtype: nameOf(PROGRAM_DTYPES, dtype), ...(owned ? { owned } : {}) };
}

function bucketFromWire({ pieceLength = 0, ...bucket }: Bucket): Bucket {
  return pieceLength === 0 ? bucket : { ...bucket, pieceLength };
}

function optimizerFromWire({ momentum, rmsprop, adam }: WireOptimizer): OptimizerPlan {
  if (momentum) return { kind: 'momentum', ...momentum };
  if (rmsprop) return { kind: 'rmsprop', ...rmsprop };
  return adam ? { kind: 'adam', ...adam } : { kind: 'sgd' };
}

function parameterToWire({ initializer, ...parameter }: ParameterPlan): WireParameter {
  return {
    ...parameter,
    dtype: numberOf(DTYPES, parameter.dtype),
    layout: layoutToWire(parameter.layout),
    ...(initializer === undefined ? {} : { initializer: initializerToWire(initializer) }),
  };
}

function parameterFromWire({
  initializer,
  layout,
  dtype,
  virtualStages = [],
  ...parameter
}: WireParameter): ParameterPlan {
  return {
    ...parameter,
    ...(virtualStages.length === 0 ? {} : { virtualStages }),
    dtype: nameOf(DTYPES, dtype),
    layout: layoutFromWire(layout),
    ...(initializer ? { initializer: initializerFromWire(initializer) } : {}),
  };
}

function layoutToWire(layout: Layout): WireLayout {
  return { ...layout, kind: numberOf(LAYOUTS, layout.kind) };
}

function layoutFromWire({ kind, dim = 0, parts = 1, paddedSize = 0 }: WireLayout): Layout {
  const name = nameOf(LAYOUTS, kind);
  return name === 'shard' ? { kind: name, dim, parts, paddedSize } : { kind: name };
}

function initializerToWire(initializer: Initializer): WireInitializer {
  const kind = numberOf(INITIALIZERS, initializer.kind);
  if (initializer.kind === 'constant') return { kind, a: initializer.value, b: 0 };
  if (initializer.kind === 'uniform') return { kind, a: initializer.low, b: initializer.high };
  return { kind, a: initializer.mean, b: initializer.stddev };
}

function initializerFromWire({ kind, a, b }: WireInitializer): Initializer {
  const name = nameOf(INITIALIZERS, kind);
  if (name === 'constant') return { kind: name, value: a };
  return name === 'uniform' ? { kind: name, low: a, high: b } : { kind: name, mean: a, stddev: b };
}
