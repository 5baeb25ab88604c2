/** From a user's model and the shape of its data to a plan. */
import { freemem } from 'node:os';
import * as tf from '@tensorflow/tfjs';
import { workersWanted } from '../config/devices.js';
import type { Options } from '../config/schema.js';
import { MerakError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { optimizeGraph } from '../graph/passes/optimize.js';
import { inShards, type ShardContext } from '../kernels/shardContext.js';
import type { SimulationInput } from '../pipeline/simulate.js';
import type { Executable, OptimizerPlan, Plan, WorkspaceOf } from '../plan/plan.js';
import { buildExecutable } from '../planner/buildExecutable.js';
import { buildPlan, type PlanInput } from '../planner/buildPlan.js';
import { buildTrainingExecutable } from '../planner/buildTraining.js';
import { planSimulation } from '../planner/costs/planSimulation.js';
import { chooseBatch, chooseDegrees } from '../planner/defaults.js';
import { explainPlan, type PlanReport, planReport } from '../planner/explain.js';
import { missingKernels } from '../planner/fallback.js';
import type { Precision } from '../planner/fuse.js';
import { type PlanOutcome, searchOutcome } from '../planner/outcome.js';
import { withSameDraws } from '../planner/prepare.js';
import type { LayoutChoice, Pinned } from '../planner/search/candidates.js';
import { clusterCosts } from '../planner/search/cluster.js';
import { parseCluster } from '../planner/search/clusterSpec.js';
import { type SearchRequest, searchLayout } from '../planner/search/searchLayout.js';
import { fieldsOfModel } from '../trace/fields.js';
import type { FieldSpec, Trace, TraceMode, UserModel } from '../trace/model.js';
import { traceModel } from '../trace/trace.js';
import { clusterFor, gpuBytesPerRank, nativeKernels, targetsCuda, workspaceFor } from './device.js';
import type { Loaded } from './feed.js';
import type { DataShape } from './session.js';

export interface Planned {
  readonly model: UserModel;
  readonly plan: Plan;
  readonly batchSize: number;
  readonly precision: Precision;
  /** Whether its programs hold MerakFused, which the CUDA engine alone runs. */
  readonly fusesChains: boolean;
  /** What kernels take on the device; undefined where nobody says. */
  readonly workspaceOf: WorkspaceOf | undefined;
  readonly fields: readonly FieldSpec[];
  /** In step with `plan.parameters`. */
  readonly variables: readonly tf.Variable[];
  readonly metricsNames: readonly string[];
  /** The plan for people. */
  explain(): string;
  /** The same as data. */
  data(): PlanReport;
  /** Its training step, for the simulator. */
  step(): SimulationInput;
}

/**
 * Chooses the layout, traces at the resulting micro-batch size and plans.
 *
 * @throws MerakError of the rooms below: config/*, trace/*, layout/*, plan/*
 */
export function planModel(model: UserModel, shape: DataShape, options: Options, optimizer: OptimizerPlan): Planned {
  const { pp, dp, tp, microBatches, schedule, chunks, recompute, shardOptimizer } = options;
  const degrees = chooseDegrees({ workers: workersWanted(options), pp, dp, tp, batchSize: shape.batchSize });
  const fields = model instanceof tf.LayersModel ? completeFields(model, shape.fields) : shape.fields;
  const traces = new Map<number, { readonly trace: Trace; readonly graph: Graph }>();
  // A loss over the global batch: its trace depends on the number of replicas, which follows from the size of one's share.
  let meetsReplicas = false;
  const onUse = () => {
    meetsReplicas = true;
  };
  const traceAt = (size: number) => {
    const known = traces.get(size);
    if (known !== undefined) return known;
    const trace = inShards(replicas(shape.batchSize / size, onUse), () => traceModel(model, 'train', fields, size));
    const traced = { trace, graph: optimizeGraph(trace.graph) };
    traces.set(size, traced);
    return traced;
  };
  const numRanks = degrees.mesh.pp * degrees.mesh.dp * degrees.mesh.tp;
  const memoryLimitBytes =
    options.memoryLimit ?? gpuBytesPerRank(options, numRanks) ?? Math.floor(freemem() / numRanks);
  const cluster = clusterFor(options, numRanks, memoryLimitBytes);
  const workspaceOf = workspaceFor(options, numRanks);
  // A search says itself what it priced by.
  const pinnedReason = targetsCuda(options) ? `${degrees.reason} Priced as ${cluster.name}.` : degrees.reason;
  const choose = (numMicroBatches: number | undefined, subBatches: number | undefined): Chosen => {
    if (isOpen({ ...options, microBatches: numMicroBatches, subBatches }, numRanks)) {
      return searched({
        traceAt: (size) => traceAt(size).graph,
        workers: numRanks,
        batchSize: shape.batchSize,
        cluster,
        optimizer,
        precision: options.precision,
        workspaceOf,
        fusesChains: targetsCuda(options),
        pinned: { ...pinnedBy(options, numMicroBatches), subBatches },
      });
    }
    const batch = chooseBatch({ batchSize: shape.batchSize, mesh: degrees.mesh, numMicroBatches });
    const rest = {
      schedule,
      numChunks: chunks,
      recompute: recompute ?? 'auto',
      shardOptimizer: shardOptimizer ?? false,
      subBatches,
      sequenceParallel: options.sequenceParallel,
    };
    traceAt(batch.microBatchSize);
    return { choice: { mesh: degrees.mesh, ...batch, ...rest }, reason: pinnedReason };
  };
  let { choice, reason } = choose(microBatches, options.subBatches);
  if (meetsReplicas) {
    checkWholeBatch(options);
    if (choice.numMicroBatches > 1 || (choice.subBatches ?? 1) > 1) ({ choice, reason } = choose(1, 1));
  }
  const { trace, graph } = traceAt(choice.microBatchSize);
  const input = {
    ...choice,
    train: graph,
    // Where everything fits, as the search counts it, `auto` keeps everything; the exact memory map has the last word.
    recompute: choice.recompute === 'none' ? (recompute ?? 'auto') : choice.recompute,
    costs: clusterCosts(cluster, choice.mesh),
    optimizer,
    precision: options.precision,
    clipNorm: options.clipNorm,
    lossScale: {
      initial: options.lossScale,
      growth: options.lossScaleGrowth,
      interval: options.lossScaleInterval,
      backoff: options.lossScaleBackoff,
    },
    seed: options.seed,
    memoryLimitBytes,
    workspaceOf,
  };
  const { plan, fusesChains } = planFor(options, input);
  return {
    model,
    plan,
    batchSize: shape.batchSize,
    precision: options.precision,
    fusesChains,
    workspaceOf,
    fields,
    variables: variablesOf(plan, trace),
    metricsNames: trace.graph.outputs.map(({ name }) => name),
    explain: () => explainPlan(plan, reason, nativeKernels(options)),
    data: () => planReport(plan, nativeKernels(options)),
    step: () => planSimulation(plan, clusterCosts(cluster, choice.mesh)),
  };
}

/** Chains are fused for the CUDA engine, unless the tfjs runtime will have to step in. */
function planFor(options: Options, input: PlanInput): { readonly plan: Plan; readonly fusesChains: boolean } {
  const known = targetsCuda(options) ? nativeKernels(options) : undefined;
  if (known !== undefined) {
    const plan = buildPlan({ ...input, fusesChains: true });
    if (missingKernels(plan, known).length === 0) return { plan, fusesChains: true };
  }
  return { plan: buildPlan(input), fusesChains: false };
}

/**
 * What the search chooses for a cluster elsewhere, at the script's own batch size; nothing is lowered or started.
 *
 * @throws MerakError as `parseCluster` and `searchLayout` do.
 */
export function planForCluster(
  model: UserModel,
  shape: DataShape,
  options: Options,
  optimizer: OptimizerPlan,
  spec: string,
): PlanOutcome {
  const fields = model instanceof tf.LayersModel ? completeFields(model, shape.fields) : shape.fields;
  const { cluster, workers, memoryLimitBytes } = parseCluster(spec, options.precision);
  const traceAt = (size: number) =>
    optimizeGraph(inShards(replicas(shape.batchSize / size), () => traceModel(model, 'train', fields, size)).graph);
  const result = searchLayout({
    traceAt,
    workers,
    batchSize: shape.batchSize,
    cluster,
    optimizer,
    precision: options.precision,
    memoryLimitBytes: options.memoryLimit ?? memoryLimitBytes,
    pinned: pinnedBy(options, options.microBatches),
  });
  return searchOutcome(`batch ${shape.batchSize}`, result, optimizer);
}

function pinnedBy(options: Options, numMicroBatches: number | undefined): Pinned {
  const { pp, dp, tp, schedule, chunks, recompute, shardOptimizer, subBatches, sequenceParallel } = options;
  return {
    pp,
    dp,
    tp,
    numMicroBatches,
    schedule,
    numChunks: chunks,
    recompute,
    shardOptimizer,
    subBatches,
    sequenceParallel: sequenceParallel === 'auto' ? undefined : sequenceParallel,
  };
}

type OpenChoice = 'schedule' | 'numChunks' | 'subBatches' | 'sequenceParallel';

interface Chosen {
  /** What is left open, `buildPlan` decides. */
  readonly choice: Omit<LayoutChoice, OpenChoice> & { readonly [key in OpenChoice]: LayoutChoice[key] | undefined };
  readonly reason: string;
}

/** What merak.nn's collectives of a wrapped loss are told: replicas share one trace. */
function replicas(numShards: number, onUse?: () => void): ShardContext {
  const alone = numShards === 1 || !Number.isInteger(numShards);
  return {
    numShards: alone ? 1 : numShards,
    index: alone ? 0 : undefined,
    totals: new Set(),
    ...(onUse === undefined ? {} : { onUse }),
  };
}

/** Raises config/batch where a loss over the global batch would be one over a piece of it. */
function checkWholeBatch({ microBatches = 1, subBatches = 1 }: Options): void {
  if (microBatches === 1 && subBatches === 1) return;
  throw new MerakError('config/batch', 'this loss exchanges with the other replicas, and its batch cannot be cut', {
    path: microBatches > 1 ? 'microBatches' : 'subBatches',
    expected: '1',
    received: String(microBatches > 1 ? microBatches : subBatches),
    hint: 'merak.nn.gatherBatch and allReduce see the whole batch only without micro-batches: leave the option out',
  });
}

/** Whether there is anything left to choose. One worker runs everything, and `auto` recomputation sees to its memory. */
/** How many ranks a plan under these options has. @throws MerakError config/degrees */
export function numRanksOf(options: Options, batchSize: number): number {
  const { pp, dp, tp } = options;
  const { mesh } = chooseDegrees({ workers: workersWanted(options), pp, dp, tp, batchSize });
  return mesh.pp * mesh.dp * mesh.tp;
}

function isOpen({ pp, dp, tp, microBatches, schedule, recompute }: Options, numRanks: number): boolean {
  const pinned = [pp, dp, tp, microBatches, schedule, recompute];
  return numRanks > 1 && pinned.includes(undefined);
}

function searched(request: SearchRequest): { readonly choice: LayoutChoice; readonly reason: string } {
  const { choice, explanation } = searchLayout(request);
  return { choice, reason: explanation };
}

/** One more executable for a plan, in rank order. */
export function planVariant(
  planned: Planned,
  mode: TraceMode,
  split: Pick<Loaded, 'numMicroBatches' | 'microBatchSize' | 'everyReplicaSeesAll'>,
  name: string,
): Executable[] {
  // Replicas that all see the whole batch have nothing to gather.
  const context = replicas(split.everyReplicaSeesAll ? 1 : planned.plan.mesh.dp);
  const traced = inShards(context, () => traceFor(planned, mode, split.microBatchSize));
  const graph = split.everyReplicaSeesAll ? withSameDraws(traced) : traced;
  const { numMicroBatches } = split;
  const { fusesChains } = planned;
  const executables =
    mode === 'train'
      ? buildTrainingExecutable(planned.plan, graph, {
          name,
          numMicroBatches,
          fusesChains,
          precision: planned.precision,
        })
      : buildExecutable(planned.plan, mode, graph, { name, numMicroBatches, fusesChains });
  const { workspaceOf } = planned;
  if (workspaceOf === undefined) return executables;
  return executables.map((one, rank) => ({ ...one, workspace: workspaceOf(one, planned.plan.ranks[rank]!) }));
}

function traceFor({ model, fields }: Planned, mode: TraceMode, microBatchSize: number): Graph {
  if (
    mode === 'predict' &&
    !(model instanceof tf.LayersModel) &&
    (typeof model === 'function' || model.predict === undefined)
  ) {
    throw new MerakError('trace/model', 'this model has a loss only', {
      path: 'predict',
      hint: 'pass wrap an object with a `predict(batch)` beside `loss(batch)`',
    });
  }
  return optimizeGraph(traceModel(model, mode, fields, microBatchSize).graph);
}

/** The model's own fields, with shapes and dtypes as the data at hand has them. */
function completeFields(model: tf.LayersModel, given: readonly FieldSpec[]): FieldSpec[] {
  const byName = new Map(given.map((field) => [field.name, field]));
  return fieldsOfModel(model).map((field) => byName.get(field.name) ?? field);
}

function variablesOf(plan: Plan, trace: Trace): tf.Variable[] {
  const byName = new Map(trace.graph.parameters.map(({ name }, index) => [name, trace.variables[index]!]));
  return plan.parameters.map(({ name }) => byName.get(name)!);
}
