/** What stages of a model cost on a cluster, by micro-batch size and tensor layout: made when first asked for. */
import { MerakError } from '../../errors.js';
import { valueBytes } from '../../graph/cost.js';
import type { Graph } from '../../graph/graph.js';
import { tensorType } from '../../partitioner/producers.js';
import { shardGraph } from '../../partitioner/shardGraph.js';
import { numMoments } from '../../plan/parameters.js';
import type { OptimizerPlan, WorkspaceOf } from '../../plan/plan.js';
import type { Assignment } from '../../tensorparallel/assignment.js';
import { localise } from '../../tensorparallel/localise.js';
import type { SequenceParallel } from '../../tensorparallel/search.js';
import { subPipelineShares } from '../../tensorparallel/subPipelineCost.js';
import type { Precision } from '../fuse.js';
import { withFloatMetrics } from '../prepare.js';
import { profileShards, type ShardProfile } from '../shardProfile.js';
import { assignLayouts } from '../split.js';
import { type StageCosts, type StageCostsInput, stageCosts } from '../stageCosts.js';
import { tensorNodeCosts } from '../subBatches.js';
import type { LayoutChoice } from './candidates.js';
import { type Cluster, clusterCosts } from './cluster.js';
import { rescaleAssignment } from './rescale.js';

/** The part of a choice that a table depends on. */
export type TableKey = Pick<LayoutChoice, 'mesh' | 'numChunks' | 'microBatchSize' | 'subBatches' | 'sequenceParallel'>;

export interface Tables {
  readonly graphAt: (microBatchSize: number) => Graph;
  /** Undefined where the model cannot be laid out as asked: nothing to split along the sequence, or into sub-batches. */
  readonly tableOf: (choice: TableKey) => StageCosts | undefined;
  /** Stages that clean cuts allow. */
  readonly numCleanShards: (microBatchSize: number) => number;
}

export interface TablesInput {
  readonly traceAt: (microBatchSize: number) => Graph;
  readonly cluster: Cluster;
  readonly optimizer: OptimizerPlan;
  readonly precision?: Precision | undefined;
  /** What kernels take on the device; default: nobody says, and memory is counted without. */
  readonly workspaceOf?: WorkspaceOf | undefined;
  /** Whether the engine runs chains of element-wise nodes as one. Default false. */
  readonly fusesChains?: boolean | undefined;
}

interface Profiled {
  readonly local: Graph;
  readonly input: StageCostsInput;
}

export function makeTables(input: TablesInput): Tables {
  const { traceAt, cluster, optimizer, ...profileOptions } = input;
  const graphs = new Map<number, Graph>();
  const assignments = new Map<string, { readonly assignment: Assignment; readonly graph: Graph }>();
  const profiles = new Map<string, Profiled | undefined>();
  const tables = new Map<string, StageCosts | undefined>();
  const cleanShards = new Map<number, number>();
  const graphAt = (size: number): Graph => remember(graphs, size, () => withFloatMetrics(traceAt(size)));

  /** Layouts hardly depend on the micro-batch size: they are searched at the first and carried over to others, where legal. */
  const localGraph = ({ mesh, microBatchSize, sequenceParallel }: TableKey): Graph | undefined => {
    const graph = graphAt(microBatchSize);
    if (mesh.tp === 1) return graph;
    const key = `${mesh.tp} ${sequenceParallel}`;
    const known = assignments.get(key);
    const carried = known && localiseAs(rescaleAssignment(known.assignment, known.graph, graph), graph, mesh.tp);
    if (carried !== undefined) return splitAsAsked(carried, sequenceParallel);
    const assignment = assignLayouts(graph, mesh.tp, { training: true, sequenceParallel });
    assignments.set(key, { assignment, graph });
    return splitAsAsked(localise(graph, assignment, mesh.tp, 0), sequenceParallel);
  };

  const profiled = (key: TableKey, atLeast: number): Profiled | undefined =>
    remember(profiles, `${tensorKey(key)} ${atLeast > 1}`, () => {
      const local = localGraph(key);
      if (local === undefined) return undefined;
      const { operators, tensorLink } = clusterCosts(cluster, key.mesh);
      const costs = { operators, tensorLink, tensorRanks: key.mesh.tp };
      const shards = profileShards(local, shardGraph(local, { atLeast }), costs, profileOptions);
      const parameterBytes = local.parameters.map(({ value }) => valueBytes(tensorType(local, value)));
      const trainable = local.parameters.map((parameter) => parameter.trainable);
      return { local, input: { shards, parameterBytes, trainable, numMoments: numMoments(optimizer) } };
    });

  const tableAt = (key: TableKey, atLeast: number): StageCosts | undefined =>
    remember(tables, `${tensorKey(key)} ${atLeast > 1} ${key.subBatches}`, () => {
      const found = profiled(key, atLeast);
      if (found === undefined || key.subBatches === 1) return found && stageCosts(found.input);
      const nodeCosts = tensorNodeCosts(clusterCosts(cluster, key.mesh), key.mesh.tp);
      const shares = subPipelineShares(found.local, nodeCosts, { numSubBatches: key.subBatches });
      if (shares === undefined) return undefined;
      return stageCosts({ ...found.input, shards: found.input.shards.map((shard) => overlapped(shard, shares)) });
    });

  return {
    graphAt,
    // More stages than clean cuts: cuts at every candidate place, as the planner then makes them.
    tableOf: (key) => {
      const pieces = key.mesh.pp * key.numChunks;
      const clean = tableAt(key, 1);
      return clean === undefined || pieces <= clean.numShards ? clean : tableAt(key, pieces);
    },
    numCleanShards: (size) => remember(cleanShards, size, () => shardGraph(graphAt(size)).numShards),
  };
}

/** Undefined where the layouts are none of this graph's. */
function localiseAs(assignment: Assignment | undefined, graph: Graph, degree: number): Graph | undefined {
  if (assignment === undefined) return undefined;
  try {
    return localise(graph, assignment, degree, 0);
  } catch (error) {
    if (error instanceof MerakError && error.code === 'layout/illegal') return undefined;
    throw error;
  }
}

function splitAsAsked(local: Graph, sequenceParallel: SequenceParallel): Graph | undefined {
  const isSplit = local.nodes.some(({ kernel, attrs }) => kernel === 'MerakReduceScatter' || attrs.spread === true);
  return sequenceParallel === 'on' && !isSplit ? undefined : local;
}

/** The link between tensor ranks depends on their number alone. */
function tensorKey({ mesh, microBatchSize, sequenceParallel }: TableKey): string {
  return `${mesh.tp} ${microBatchSize} ${mesh.tp === 1 ? 'off' : sequenceParallel}`;
}

/** A shard whose exchanges run beside computing: what is hidden comes off its seconds and its exchanges alike. */
function overlapped(
  shard: ShardProfile,
  { forward, backward }: { readonly forward: number; readonly backward: number },
): ShardProfile {
  const forwardSeconds = shard.forwardSeconds * forward;
  const inputGradientSeconds = shard.inputGradientSeconds * backward;
  const weightGradientSeconds = shard.weightGradientSeconds * backward;
  const before = shard.forwardSeconds + shard.inputGradientSeconds + shard.weightGradientSeconds;
  const hidden = before - forwardSeconds - inputGradientSeconds - weightGradientSeconds;
  return {
    ...shard,
    forwardSeconds,
    inputGradientSeconds,
    weightGradientSeconds,
    exchangeSeconds: Math.max(0, shard.exchangeSeconds - Math.max(0, hidden)),
  };
}

function remember<K, V>(known: Map<K, V>, key: K, make: () => V): V {
  if (known.has(key)) return known.get(key) as V;
  const made = make();
  known.set(key, made);
  return made;
}
