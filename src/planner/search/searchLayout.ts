/** The planner's search: degrees, schedule, micro-batches and recomputation for a model and a cluster. */
import type { Graph } from '../../graph/graph.js';
import { requireShards } from '../../partitioner/assignStages.js';
import { EventQueue } from '../../pipeline/eventQueue.js';
import type { OptimizerPlan, WorkspaceOf } from '../../plan/plan.js';
import type { Precision } from '../fuse.js';
import { candidateChoices, type LayoutChoice, type Pinned, SCHEDULES } from './candidates.js';
import { type Cluster, clusterCosts } from './cluster.js';
import { type Staged, stage, type Timed, time } from './evaluate.js';
import { explainSearch } from './explainSearch.js';
import { type Family, familyOf } from './family.js';
import { outOfMemory } from './outOfMemory.js';
import type { ScheduleCache } from './schedules.js';
import { makeTables, type TableKey, type Tables } from './tables.js';
import { type Variant, variantsOf } from './variants.js';

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
  /** What kernels take on the device. Default: nobody says, and memory is counted without. */
  readonly workspaceOf?: WorkspaceOf | undefined;
  /** Whether the engine runs chains of element-wise nodes as one, as the CUDA engine does. Default false. */
  readonly fusesChains?: boolean | undefined;
  /** Made for the same model, cluster, optimizer and precision: searches that differ in what is pinned share them. */
  readonly tables?: Tables | undefined;
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
  /** The winner with one decision taken otherwise, fastest first, those that do not fit last. */
  readonly variants: readonly Variant[];
  readonly numChoices: number;
  readonly numSimulated: number;
  /** For people: the winner, the best of each family, why the others lose. */
  readonly explanation: string;
}

/**
 * The fastest choice that fits, by simulation. Blocks are costed, not plans: a model is traced once per micro-batch size
 * and its kinds of shards lowered once per size and tensor layout; a choice is then a partition of the chain of shards and
 * a play of its schedule. Choices wait in the order of what they take at the least, known ever more exactly (no exchanges
 * and no launches split; balanced stages; the stages themselves; played), and most are never looked at closely: once the
 * least of a choice is more than the best of its family takes, it is out. Of choices within 1 % of the fastest the simplest
 * wins: fewer tensor ranks, fewer stages, the simpler schedule, and without a pipeline fewer micro-batches.
 *
 * @throws MerakError 'config/degrees', 'config/batch', 'plan/too-many-stages' when nothing can be cut as pinned, and
 *   'plan/out-of-memory' with the choice that needs least, and the smallest number of workers that would do, when nothing
 *   fits.
 */
export function searchLayout(request: SearchRequest): SearchResult {
  const { cluster, optimizer } = request;
  const memoryLimitBytes = request.memoryLimitBytes ?? cluster.device.memoryBytes;
  const tables = request.tables ?? makeTables(request);
  const schedules: ScheduleCache = new Map();
  const pinned = pinnedOn(cluster, request.pinned ?? {});
  const possible = candidateChoices(request.workers, request.batchSize, cluster.devicesPerHost, pinned);
  const fitsWhole = (choice: LayoutChoice): boolean => {
    const table = tables.tableOf(choice);
    if (table === undefined) return false;
    return stage(choice, table, clusterCosts(cluster, choice.mesh), memoryLimitBytes, schedules).fits;
  };
  const all = withWholeBatches(withoutNeedlessPieces(possible, fitsWhole), tables.graphAt);
  const choices = cuttable(withoutSaturatedSizes(all, tables), tables);

  const simulated: Timed[] = [];
  const starved: Staged[] = [];
  // Within a family the best is wanted for the explanation, over all of them for the plan.
  const bestOf = new Map<Family, number>();
  // Where keeping everything fits, what saves memory need not be tried.
  const keepsAll = new Set<string>();
  const queue = new EventQueue<Waiting>();
  for (const choice of [...choices].sort((a, b) => thrift(a) - thrift(b))) {
    queue.add(coarseSeconds(choice, tables), { choice, known: 'coarse' });
  }
  for (let next = queue.take(); next !== undefined; next = queue.take()) {
    const { choice, known, staged } = next.event;
    const family = familyOf(choice);
    const limit = (bestOf.get(family) ?? Number.POSITIVE_INFINITY) * (1 + AS_FAST);
    if (next.time >= limit || (thrift(choice) > 0 && keepsAll.has(runKey(choice)))) continue;
    if (known === 'coarse') {
      const seconds = hiddenSeconds(choice, tables);
      if (seconds !== undefined) queue.add(seconds, { choice, known: 'hidden' });
    } else if (known === 'hidden') {
      const table = tables.tableOf(choice);
      if (table !== undefined)
        queue.add(idealSeconds(choice, table.baseSeconds(0, table.numShards)), { choice, known: 'table' });
    } else if (staged === undefined) {
      const table = tables.tableOf(choice);
      if (table === undefined) continue;
      const made = stage(choice, table, clusterCosts(cluster, choice.mesh), memoryLimitBytes, schedules, limit);
      if (made === undefined) continue;
      if (made.fits) queue.add(made.leastSeconds, { choice, known, staged: made });
      else starved.push(made);
      if (made.fits && thrift(choice) === 0) keepsAll.add(runKey(choice));
    } else {
      const timed = time(staged, optimizer, schedules);
      simulated.push(timed);
      bestOf.set(family, Math.min(bestOf.get(family) ?? Number.POSITIVE_INFINITY, timed.stepSeconds));
    }
  }

  const families = bestPerFamily(simulated);
  const [best] = families;
  const impossible = starvedFamilies(starved, families);
  if (best === undefined) throw outOfMemory(request, memoryLimitBytes, impossible, tables);
  const price = (choice: LayoutChoice): Timed | Staged | undefined => {
    const table =
      choice.mesh.pp * choice.numChunks > tables.numCleanShards(choice.microBatchSize)
        ? undefined
        : tables.tableOf(choice);
    if (table === undefined) return undefined;
    const staged = stage(choice, table, clusterCosts(cluster, choice.mesh), memoryLimitBytes, schedules);
    return staged.fits ? time(staged, optimizer, schedules) : staged;
  };
  const summary = {
    choice: best.choice,
    best,
    families,
    impossible,
    variants: variantsOf(best, pinned, price),
    numChoices: choices.length,
    numSimulated: simulated.length,
  };
  return { ...summary, explanation: explainSearch(summary, cluster, memoryLimitBytes) };
}

/** A choice in the queue, and what its place there is known by. */
interface Waiting {
  readonly choice: LayoutChoice;
  readonly known: 'coarse' | 'hidden' | 'table';
  readonly staged?: Staged;
}

/** Where the cores that compute carry the bytes too, turns gain nothing but waits, and the layout search knows the rest. */
function pinnedOn({ transfers }: Cluster, pinned: Pinned): Pinned {
  if (transfers !== 'receiver') return pinned;
  const { subBatches = 1, sequenceParallel = 'auto' } = pinned;
  return { ...pinned, subBatches, sequenceParallel };
}

/**
 * Statistics over a micro-batch (batch normalisation) change with its size, so such a model's batch is split only where a
 * pipeline needs it.
 */
function withWholeBatches(
  choices: readonly LayoutChoice[],
  graphAt: (microBatchSize: number) => Graph,
): readonly LayoutChoice[] {
  const whole = choices.filter(({ mesh, numMicroBatches }) => mesh.pp > 1 || numMicroBatches === 1);
  const [first] = choices;
  if (first === undefined || whole.length === choices.length) return choices;
  if (graphAt(first.microBatchSize).updates.length === 0) return choices;
  return whole.length > 0 ? whole : choices;
}

/**
 * Without a pipeline micro-batches only save memory: where the batch fits in one piece, keeping everything, no other size
 * is looked at. (With one every size is traced for its sake, and priced with the others.)
 */
function withoutNeedlessPieces(
  choices: readonly LayoutChoice[],
  fits: (choice: LayoutChoice) => boolean,
): readonly LayoutChoice[] {
  if (choices.some(({ mesh }) => mesh.pp > 1)) return choices;
  const whole = choices.filter((choice) => choice.numMicroBatches === 1 && thrift(choice) === 0 && fits(choice));
  const fitting = new Set(whole.map(({ mesh }) => mesh));
  return choices.filter(({ mesh, numMicroBatches }) => numMicroBatches === 1 || !fitting.has(mesh));
}

/** Graphs of so many nodes are traced at no more sizes than bring something. */
const MANY_NODES = 300;
/** Twice in a row a larger size must save this share per sample. */
const WORTH_TRACING = 0.01;

/** Without the micro-batch sizes beyond which a sample takes no less: they only lengthen the pipeline's ends. */
function withoutSaturatedSizes(choices: readonly LayoutChoice[], tables: Tables): readonly LayoutChoice[] {
  const sizes = [...new Set(choices.map(({ microBatchSize }) => microBatchSize))].sort((a, b) => a - b);
  const [smallest] = sizes;
  if (smallest === undefined || tables.graphAt(smallest).nodes.length < MANY_NODES) return choices;
  if (tables.graphAt(smallest).updates.length > 0) return choices;
  const worthwhile = new Set<number>();
  let [least, numIdle] = [Number.POSITIVE_INFINITY, 0];
  for (const size of sizes) {
    if (numIdle >= 2) break;
    worthwhile.add(size);
    const perSample = wholeSeconds({ ...WHOLE, microBatchSize: size }, tables) / size;
    numIdle = perSample < (1 - WORTH_TRACING) * least ? 0 : numIdle + 1;
    least = Math.min(least, perSample);
  }
  const kept = choices.filter(({ microBatchSize }) => worthwhile.has(microBatchSize));
  return kept.length > 0 ? kept : choices;
}

const WHOLE = { mesh: { pp: 1, dp: 1, tp: 1 }, numChunks: 1, subBatches: 1, sequenceParallel: 'off' } as const;

function wholeSeconds(key: TableKey, tables: Tables): number {
  const table = tables.tableOf(key);
  return table?.baseSeconds(0, table.numShards) ?? 0;
}

/** Choices that clean cuts allow; without any, those that any cuts do. @throws MerakError 'plan/too-many-stages'. */
function cuttable(choices: readonly LayoutChoice[], tables: Tables): readonly LayoutChoice[] {
  const clean = choices.filter(
    (choice) => piecesOf(choice) === 1 || piecesOf(choice) <= tables.numCleanShards(choice.microBatchSize),
  );
  if (clean.length > 0) return clean;
  const numShards = (choice: LayoutChoice) => tables.tableOf({ ...choice, subBatches: 1 })?.numShards ?? 0;
  const possible = choices.filter((choice) => piecesOf(choice) <= numShards(choice));
  const [first] = choices;
  if (possible.length === 0 && first !== undefined) requireShards(numShards(first), first.mesh.pp, first.numChunks);
  return possible;
}

/** Chunks of the model over all stages. */
function piecesOf({ mesh, numChunks }: LayoutChoice): number {
  return mesh.pp * numChunks;
}

/** The whole model's work divided by the tensor ranks, exchanges not counted; some of it may run faster in smaller pieces. */
function coarseSeconds(choice: LayoutChoice, tables: Tables): number {
  const { mesh, microBatchSize } = choice;
  const whole = wholeSeconds({ ...WHOLE, microBatchSize }, tables);
  return idealSeconds(choice, mesh.tp === 1 ? whole : (FASTER_IN_PIECES * whole) / mesh.tp);
}

const FASTER_IN_PIECES = 0.8;

/** Every exchange hidden, where sub-batches may hide some. Undefined: impossible. */
function hiddenSeconds(choice: LayoutChoice, tables: Tables): number | undefined {
  const table = tables.tableOf({ ...choice, subBatches: 1 });
  if (table === undefined) return undefined;
  const whole = table.baseSeconds(0, table.numShards);
  if (choice.subBatches === 1) return idealSeconds(choice, whole);
  const exchange = table.exchangeSeconds(0, table.numShards);
  return exchange < WORTH_HIDING * whole ? undefined : idealSeconds(choice, whole - exchange);
}

/** Exchanges of a smaller share are not worth sub-batches. */
const WORTH_HIDING = 0.02;

/**
 * Perfectly balanced stages that recompute nothing: the last one's work, with one pass through the others around it. Where
 * stages have several chunks, that pass may run beside the last one's other chunks.
 *
 * @param whole seconds of the whole model for a micro-batch
 */
function idealSeconds({ mesh, numChunks, numMicroBatches }: LayoutChoice, whole: number): number {
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
function runKey({ mesh, numChunks, numMicroBatches, schedule, subBatches, sequenceParallel }: LayoutChoice): string {
  const order = schedule === 'scp' || schedule === '1f1b-early' ? '1f1b' : schedule;
  return `${mesh.pp} ${mesh.dp} ${mesh.tp} ${numMicroBatches} ${order} ${numChunks} ${subBatches} ${sequenceParallel}`;
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
    (x.mesh.pp === 1 ? x.numMicroBatches - y.numMicroBatches : 0) ||
    order(x) - order(y) ||
    x.subBatches - y.subBatches ||
    Number(x.sequenceParallel === 'on') - Number(y.sequenceParallel === 'on') ||
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
