/** The planner's search: degrees, schedule, micro-batches and recomputation for a model and a cluster. */
import { MerakError } from '../../errors.js';
import type { Graph } from '../../graph/graph.js';
import { requireShards } from '../../partitioner/assignStages.js';
import { shardGraph } from '../../partitioner/shardGraph.js';
import { formatBytes } from '../../plan/memoryReport.js';
import { numMoments } from '../../plan/parameters.js';
import type { OptimizerPlan } from '../../plan/plan.js';
import type { Assignment } from '../../tensorparallel/assignment.js';
import { localise } from '../../tensorparallel/localise.js';
import { stageTable } from '../balance.js';
import type { Precision } from '../fuse.js';
import { withFloatMetrics } from '../prepare.js';
import { assignLayouts } from '../split.js';
import type { StageCosts } from '../stageCosts.js';
import { candidateChoices, type LayoutChoice, type Pinned, SCHEDULES } from './candidates.js';
import { type Cluster, clusterCosts } from './cluster.js';
import { type ScheduleCache, type Staged, stage, type Timed, time } from './evaluate.js';
import { explainSearch } from './explainSearch.js';
import { type Family, familyOf } from './family.js';

export interface SearchRequest {
  /** The training graph at a micro-batch size, optimised. Called once per size. */
  readonly traceAt: (microBatchSize: number) => Graph;
  readonly workers: number;
  /** Samples of one step over all workers. */
  readonly batchSize: number;
  readonly cluster: Cluster;
  readonly optimizer: OptimizerPlan;
  readonly pinned?: Pinned | undefined;
  /** Per worker. Default: the device's. */
  readonly memoryLimitBytes?: number | undefined;
  /** Default 'f32'. */
  readonly precision?: Precision | undefined;
}

/** Why a family of choices has no member at all. */
export interface Impossible {
  readonly family: Family;
  /** The closest: what it would need per worker. */
  readonly leastBytes: number;
  readonly choice: LayoutChoice;
}

export interface SearchResult {
  readonly choice: LayoutChoice;
  readonly best: Timed;
  /** The winner, then the best of every other family (which axes are used), fastest first. */
  readonly families: readonly Timed[];
  readonly impossible: readonly Impossible[];
  readonly numChoices: number;
  readonly numSimulated: number;
  /** For people: the winner, the best of each family, why the others lose. */
  readonly explanation: string;
}

/**
 * The fastest choice that fits, by simulation. Blocks are costed, not plans: a model is traced once per micro-batch size
 * and its kinds of shards lowered once per size and tensor degree; a choice is then a partition of the chain of shards
 * and a simulation. Choices whose stages alone take longer than the best found are not simulated. Of choices within
 * 1 % of the fastest the simplest wins: fewer tensor ranks, fewer stages, the simpler schedule.
 *
 * @throws MerakError 'config/degrees', 'config/batch', 'plan/too-many-stages' when nothing can be cut as pinned, and
 *   'plan/out-of-memory' with the choice that needs least when nothing fits.
 */
export function searchLayout(request: SearchRequest): SearchResult {
  const { cluster, optimizer } = request;
  const memoryLimitBytes = request.memoryLimitBytes ?? cluster.device.memoryBytes;
  const { tables, graphAt } = tablesFor(request);
  const schedules: ScheduleCache = new Map();
  const choices = withWholeBatches(
    candidateChoices(request.workers, request.batchSize, cluster.devicesPerHost, request.pinned ?? {}),
    graphAt,
  );
  const cuttable = choices.filter((choice) => piecesOf(choice) <= tables(choice).numShards);
  const [first] = choices;
  if (cuttable.length === 0 && first !== undefined) {
    requireShards(tables(first).numShards, first.mesh.pp, first.numChunks);
  }

  const simulated: Timed[] = [];
  const starved: Staged[] = [];
  // Within a family the best is wanted for the explanation, over all of them for the plan.
  const bestOf = new Map<Family, number>();
  // Where keeping everything fits, what saves memory need not be tried.
  const keepsAll = new Set<string>();
  const promising = cuttable
    .map((choice) => ({ choice, atLeast: idealSeconds(choice, tables(choice)) }))
    .sort((a, b) => a.atLeast - b.atLeast || thrift(a.choice) - thrift(b.choice));
  for (const { choice, atLeast } of promising) {
    const limit = bestOf.get(familyOf(choice)) ?? Number.POSITIVE_INFINITY;
    if (atLeast >= limit || (thrift(choice) > 0 && keepsAll.has(runKey(choice)))) continue;
    const costs = clusterCosts(cluster, choice.mesh);
    const staged = stage(choice, tables(choice), costs, memoryLimitBytes, schedules);
    if (!staged.fits) {
      starved.push(staged);
      continue;
    }
    if (thrift(choice) === 0) keepsAll.add(runKey(choice));
    if (staged.leastSeconds >= limit) continue;
    const timed = time(staged, optimizer);
    simulated.push(timed);
    bestOf.set(familyOf(choice), Math.min(limit, timed.stepSeconds));
  }

  const families = bestPerFamily(simulated);
  const [best] = families;
  const impossible = starvedFamilies(starved, families);
  if (best === undefined) throw outOfMemory(request, memoryLimitBytes, impossible);
  const summary = {
    choice: best.choice,
    best,
    families,
    impossible,
    numChoices: choices.length,
    numSimulated: simulated.length,
  };
  return { ...summary, explanation: explainSearch(summary, cluster, memoryLimitBytes) };
}

/**
 * Statistics over a micro-batch (batch normalisation) change with its size, so such a model's batch is split only where a
 * pipeline needs it.
 */
function withWholeBatches(
  choices: readonly LayoutChoice[],
  graphAt: (microBatchSize: number) => Graph,
): readonly LayoutChoice[] {
  const [first] = choices;
  if (first === undefined || graphAt(first.microBatchSize).updates.length === 0) return choices;
  const whole = choices.filter(({ mesh, numMicroBatches }) => mesh.pp > 1 || numMicroBatches === 1);
  return whole.length > 0 ? whole : choices;
}

/** Chunks of the model over all stages. */
function piecesOf({ mesh, numChunks }: LayoutChoice): number {
  return mesh.pp * numChunks;
}

/**
 * Perfectly balanced stages that recompute nothing: the last one's work, with one pass through the others around it. Where
 * stages have several chunks, that pass may run beside the last one's other chunks.
 */
function idealSeconds({ mesh, numChunks, numMicroBatches }: LayoutChoice, table: StageCosts): number {
  const whole = table.baseSeconds(0, table.numShards);
  const passing = numChunks > 1 ? 0 : whole * PASSING_SHARE * (mesh.pp - 1);
  return (numMicroBatches * whole + passing) / mesh.pp;
}

/** Forward and input gradients of all work, at the least: weight gradients need not be passed on. */
const PASSING_SHARE = 0.6;

/** Ways of saving memory that the choice uses where others do without. */
function thrift({ recompute, shardOptimizer }: LayoutChoice): number {
  return Number(recompute === 'auto') + Number(shardOptimizer);
}

/** Choices that differ in what saves memory only; those of SCP and 1F1B differ in nothing where nothing is recomputed. */
function runKey({ mesh, numChunks, numMicroBatches, schedule }: LayoutChoice): string {
  const order = schedule === 'scp' || schedule === '1f1b-early' ? '1f1b' : schedule;
  return `${mesh.pp} ${mesh.dp} ${mesh.tp} ${numMicroBatches} ${order} ${numChunks}`;
}

/** Stage costs by tensor degree and micro-batch size, made when first asked for. */
interface Tables {
  readonly graphAt: (microBatchSize: number) => Graph;
  readonly tables: (choice: LayoutChoice) => StageCosts;
}

function tablesFor({ traceAt, cluster, optimizer, precision }: SearchRequest): Tables {
  const graphs = new Map<number, Graph>();
  const assignments = new Map<number, Assignment>();
  const tables = new Map<string, StageCosts>();
  const graphAt = (size: number): Graph => {
    const graph = graphs.get(size) ?? withFloatMetrics(traceAt(size));
    graphs.set(size, graph);
    return graph;
  };
  /** Layouts do not depend on the micro-batch size enough to be searched again; a graph of another structure does. */
  const localGraph = (size: number, degree: number): Graph => {
    const graph = graphAt(size);
    if (degree === 1) return graph;
    const known = assignments.get(degree);
    const fits = known?.layouts.length === graph.values.length && known.inputLayouts.length === graph.nodes.length;
    const assignment =
      known !== undefined && fits ? known : assignLayouts(graph, degree, { training: true, sequenceParallel: 'off' });
    assignments.set(degree, assignment);
    return localise(graph, assignment, degree, 0);
  };
  const tableAt = ({ mesh, microBatchSize }: LayoutChoice, atLeast: number): StageCosts => {
    // The link between tensor ranks depends on their number alone.
    const key = `${mesh.tp} ${microBatchSize} ${atLeast > 1}`;
    const known = tables.get(key);
    if (known !== undefined) return known;
    const local = localGraph(microBatchSize, mesh.tp);
    const { operators, tensorLink } = clusterCosts(cluster, mesh);
    const costs = { operators, tensorLink, tensorRanks: mesh.tp };
    const table = stageTable(local, shardGraph(local, { atLeast }), costs, numMoments(optimizer), precision);
    tables.set(key, table);
    return table;
  };
  /** More stages than clean cuts: cuts at every candidate place, as the planner then makes them. */
  const tableOf = (choice: LayoutChoice): StageCosts => {
    const clean = tableAt(choice, 1);
    return piecesOf(choice) <= clean.numShards ? clean : tableAt(choice, piecesOf(choice));
  };
  return { graphAt, tables: tableOf };
}

/** The winner, then the fastest of every other family in order of time. */
function bestPerFamily(simulated: readonly Timed[]): Timed[] {
  const fastest = Math.min(...simulated.map(({ stepSeconds }) => stepSeconds));
  const equals = simulated.filter(({ stepSeconds }) => stepSeconds <= fastest * (1 + AS_FAST));
  const winner = equals.reduce<Timed | undefined>(
    (best, timed) => (best === undefined || compareSimplicity(timed, best) < 0 ? timed : best),
    undefined,
  );
  const best = new Map<Family, Timed>();
  for (const timed of simulated) {
    const family = familyOf(timed.choice);
    const known = best.get(family);
    if (known === undefined || timed.stepSeconds < known.stepSeconds) best.set(family, timed);
  }
  if (winner === undefined) return [];
  best.delete(familyOf(winner.choice));
  return [winner, ...[...best.values()].sort((a, b) => a.stepSeconds - b.stepSeconds)];
}

/** No simulation tells closer times apart: of choices within this share of the fastest the simplest wins. */
const AS_FAST = 0.01;

/** Negative: `a` is simpler. Of equally simple ones the faster. */
function compareSimplicity(a: Timed, b: Timed): number {
  const [x, y] = [a.choice, b.choice];
  const order = ({ schedule }: LayoutChoice) => SCHEDULES.indexOf(schedule);
  return (
    x.mesh.tp - y.mesh.tp ||
    x.mesh.pp - y.mesh.pp ||
    thrift(x) - thrift(y) ||
    order(x) - order(y) ||
    a.stepSeconds - b.stepSeconds
  );
}

function starvedFamilies(starved: readonly Staged[], possible: readonly Timed[]): Impossible[] {
  const known = new Set(possible.map(({ choice }) => familyOf(choice)));
  const least = new Map<Family, Impossible>();
  for (const { choice, peakBytes } of starved) {
    const family = familyOf(choice);
    if (known.has(family) || (least.get(family)?.leastBytes ?? Number.POSITIVE_INFINITY) <= peakBytes) continue;
    least.set(family, { family, leastBytes: peakBytes, choice });
  }
  return [...least.values()].sort((a, b) => a.leastBytes - b.leastBytes);
}

function outOfMemory(request: SearchRequest, limitBytes: number, impossible: readonly Impossible[]): MerakError {
  const [closest] = impossible;
  const needs = closest === undefined ? 'more' : formatBytes(closest.leastBytes);
  const factor = closest === undefined ? 2 : Math.ceil(closest.leastBytes / limitBytes);
  return new MerakError('plan/out-of-memory', 'no way to train this model fits the workers', {
    expected: `at most ${formatBytes(limitBytes)} per worker`,
    received: `${needs} at the least, with ${closest === undefined ? 'any layout' : closest.family}`,
    hint:
      `use workers with ${needs}, or about ${factor * request.workers} workers, or a smaller batch` +
      (request.precision === 'bf16' ? '' : ', or bf16'),
  });
}
