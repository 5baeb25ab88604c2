/** Orders a graph's nodes so that collectives run beside computation: started as soon, awaited as late as may be. */
import type { Graph, Node, Value, ValueId } from '../graph/graph.js';
import { type CostModel, collectiveSeconds, DEFAULT_COST_MODEL, nodeSeconds } from './cost.js';

/**
 * How far work may move to meet a collective: 1, the next collective begins a new region that nothing crosses (one operator);
 * 2, every second one does (one transformer block); 3, nothing holds it back.
 */
export type OverlapLevel = 1 | 2 | 3;

export interface OverlapOptions {
  /** Default 3. */
  readonly level?: OverlapLevel;
  /** Default: the reference machine's. Orders only; it must be the same on all ranks. */
  readonly model?: CostModel;
  /** Ranks of the tensor axis. Default 2. */
  readonly degree?: number;
}

/** A graph in a new order. The first `numForwardNodes` of the old order are the first so many of the new. */
export interface Overlapped {
  readonly graph: Graph;
  readonly numForwardNodes: number;
  /** Seconds of either part by the cost model, one collective at a time beside one computation at a time. */
  readonly forwardSeconds: number;
  readonly backwardSeconds: number;
}

const STARTABLE: ReadonlySet<string> = new Set(['MerakAllReduce', 'MerakAllGather', 'MerakReduceScatter']);
/** Regions per level, in collectives on the way from the start. */
const COLLECTIVES_PER_REGION: Readonly<Record<OverlapLevel, number>> = { 1: 1, 2: 2, 3: Number.POSITIVE_INFINITY };
/** Work off the critical path (weight gradients) waits for a gap until so many collectives have been started. */
const PATIENCE = 6;

/**
 * Splits every collective of a local graph into its start and its wait and reorders: what most collectives still depend on
 * goes first, one chain at a time, so that sub-batches take turns; what nothing depends on (weight gradients) fills gaps.
 * Only shapes decide, so all ranks get the same order. Forward and backward nodes do not mix.
 */
export function overlapCollectives(graph: Graph, numForwardNodes: number, options: OverlapOptions = {}): Overlapped {
  const values: Value[] = [...graph.values];
  const forward = order(graph, values, graph.nodes.slice(0, numForwardNodes), options);
  const backward = order(graph, values, graph.nodes.slice(numForwardNodes), options);
  return {
    graph: { ...graph, values, nodes: [...forward.nodes, ...backward.nodes] },
    numForwardNodes: forward.nodes.length,
    forwardSeconds: forward.seconds,
    backwardSeconds: backward.seconds,
  };
}

/** Seconds of the nodes in their own order when every collective is waited for at once. */
export function blockingSeconds(
  graph: Graph,
  nodes: readonly Node[],
  { model = DEFAULT_COST_MODEL, degree = 2 }: OverlapOptions = {},
): number {
  return nodes.reduce(
    (total, node) => total + collectiveSeconds(graph, node, degree, model) + nodeSeconds(graph, node, false, model),
    0,
  );
}

interface Task {
  readonly node: Node;
  /** Nodes before that this one reads. */
  readonly needs: readonly Task[];
  readonly readers: Task[];
  readonly position: number;
  readonly computeSeconds: number;
  /** Of the start of a collective: what it takes in the background. */
  readonly exchangeSeconds: number;
  /** Collectives on the longest way from here to the end, this one included. */
  urgency: number;
  /** Completed collectives on the longest way here, over those of a region. */
  depth: number;
  numMissing: number;
  /** When it became ready, as a count; and how many collectives had been started then. */
  readySince: number;
  startsSince: number;
  /** Of a start: when its result is there. */
  finish: number;
}

function order(
  graph: Graph,
  values: Value[],
  nodes: readonly Node[],
  { level = 3, model = DEFAULT_COST_MODEL, degree = 2 }: OverlapOptions,
): { nodes: Node[]; seconds: number } {
  const tasks = makeTasks(graph, values, nodes, model, degree);
  measure(tasks, COLLECTIVES_PER_REGION[level]);
  const { sequence, seconds } = run(tasks);
  return { nodes: lateWaits(sequence), seconds };
}

function isStart(node: Node): boolean {
  return node.kernel.endsWith('Start') && STARTABLE.has(node.kernel.slice(0, -'Start'.length));
}

function isWait(node: Node): boolean {
  return node.kernel === 'MerakWait';
}

/** Gathering a padded dim needs room of its own, so that is left as it is. */
function canStart(graph: Graph, node: Node): boolean {
  if (!STARTABLE.has(node.kernel)) return false;
  if (node.kernel !== 'MerakAllGather') return true;
  const { dim, size, degree } = node.attrs;
  const local = graph.values[node.inputs[0] ?? -1]?.shape[Number(dim)] ?? 0;
  return typeof degree === 'number' && local * degree === size;
}

function makeTasks(graph: Graph, values: Value[], nodes: readonly Node[], model: CostModel, degree: number): Task[] {
  const tasks: Task[] = [];
  const producer = new Map<ValueId, Task>();
  const add = (node: Node, computeSeconds: number, exchangeSeconds: number): void => {
    const needs = [...new Set(node.inputs.flatMap((value) => producer.get(value) ?? []))];
    const task: Task = {
      node,
      needs,
      readers: [],
      position: tasks.length,
      computeSeconds,
      exchangeSeconds,
      urgency: 0,
      depth: 0,
      numMissing: needs.length,
      readySince: 0,
      startsSince: 0,
      finish: 0,
    };
    for (const need of needs) need.readers.push(task);
    for (const output of node.outputs) producer.set(output, task);
    tasks.push(task);
  };
  for (const node of nodes) {
    const [input, output] = [node.inputs[0], node.outputs[0]];
    if (!canStart(graph, node) || input === undefined || output === undefined) {
      // One that blocks holds up computation for as long as it lasts.
      add(node, nodeSeconds(graph, node, false, model) + collectiveSeconds(graph, node, degree, model), 0);
      continue;
    }
    const pending = values.push(graph.values[output] ?? { shape: [], dtype: 'float32', batchDim: -1 }) - 1;
    add(
      { ...node, kernel: `${node.kernel}Start`, outputs: [pending] },
      0,
      collectiveSeconds(graph, node, degree, model),
    );
    // An all-reduce works on its result; the others still read their source.
    const copies = node.kernel === 'MerakAllReduce';
    const inputs = copies ? [pending] : [pending, input];
    const inputNames = copies ? ['x'] : ['x', 'source'];
    add({ ...node, kernel: 'MerakWait', inputs, inputNames, attrs: { axis: node.attrs.axis ?? 'tp' } }, 0, 0);
  }
  return tasks;
}

function measure(tasks: readonly Task[], perRegion: number): void {
  const completed = new Map<Task, number>();
  for (const task of tasks) {
    const before = Math.max(0, ...task.needs.map((need) => (completed.get(need) ?? 0) + (isWait(need.node) ? 1 : 0)));
    completed.set(task, before);
    task.depth = perRegion === Number.POSITIVE_INFINITY ? 0 : Math.floor(before / perRegion);
  }
  for (const task of [...tasks].reverse()) {
    const after = Math.max(0, ...task.readers.map((reader) => reader.urgency));
    task.urgency = after + (isStart(task.node) ? 1 : 0);
  }
}

/** List scheduling on two resources: one computes, one exchanges. */
function run(tasks: readonly Task[]): { sequence: Task[]; seconds: number } {
  const sequence: Task[] = [];
  const ready: Task[] = [];
  const leftOfRegion = new Map<number, number>();
  for (const { depth } of tasks) leftOfRegion.set(depth, (leftOfRegion.get(depth) ?? 0) + 1);
  const regions = [...leftOfRegion.keys()].sort((a, b) => a - b);
  let regionAt = 0;
  let now = 0;
  let linkFree = 0;
  let numStarts = 0;
  let numReady = 0;
  const makeReady = (task: Task): void => {
    task.readySince = numReady++;
    task.startsSince = numStarts;
    ready.push(task);
  };
  for (const task of tasks) if (task.numMissing === 0) makeReady(task);

  const complete = (task: Task): void => {
    ready.splice(ready.indexOf(task), 1);
    sequence.push(task);
    now += task.computeSeconds;
    if (isStart(task.node)) {
      linkFree = Math.max(linkFree, now) + task.exchangeSeconds;
      task.finish = linkFree;
      numStarts++;
    }
    leftOfRegion.set(task.depth, (leftOfRegion.get(task.depth) ?? 1) - 1);
    while (leftOfRegion.get(regions[regionAt] ?? -1) === 0) regionAt++;
    // In reverse: of several made ready at once the first in the old order is the latest, and goes first.
    for (const reader of [...task.readers].reverse()) if (--reader.numMissing === 0) makeReady(reader);
  };
  // The old order where the newest-first rule has nothing to say: at the start all are equally new.
  const numAtStart = numReady;
  const before = (a: Task, b: Task): boolean => {
    const patient = (task: Task) => task.urgency === 0 && numStarts - task.startsSince < PATIENCE;
    const urgencyOf = (task: Task) => (task.urgency === 0 && !patient(task) ? Number.POSITIVE_INFINITY : task.urgency);
    const [x, y] = [urgencyOf(a), urgencyOf(b)];
    if (x !== y) return x > y;
    const fresh = (task: Task) => (task.readySince < numAtStart ? -1 : task.readySince);
    return fresh(a) !== fresh(b) ? fresh(a) > fresh(b) : a.position < b.position;
  };
  while (ready.length > 0) {
    const allowed = ready.filter(({ depth }) => depth <= (regions[regionAt] ?? 0));
    const start = allowed.filter(({ node }) => isStart(node)).sort((a, b) => a.position - b.position)[0];
    const arrivalOf = (task: Task): number => task.needs[0]?.finish ?? 0;
    const arrived = allowed.find((task) => isWait(task.node) && arrivalOf(task) <= now);
    const next =
      start ??
      arrived ??
      best(
        allowed.filter(({ node }) => !isWait(node)),
        before,
      );
    if (next !== undefined) {
      complete(next);
      continue;
    }
    // Nothing to compute: wait for what comes first.
    const first = best(allowed, (a, b) => arrivalOf(a) < arrivalOf(b));
    if (first === undefined) break;
    now = Math.max(now, arrivalOf(first));
    complete(first);
  }
  return { sequence, seconds: Math.max(now, linkFree) };
}

function best(tasks: readonly Task[], before: (a: Task, b: Task) => boolean): Task | undefined {
  let chosen: Task | undefined;
  for (const task of tasks) if (chosen === undefined || before(task, chosen)) chosen = task;
  return chosen;
}

/** Every wait moves to just before the first node that reads what it gives. */
function lateWaits(sequence: readonly Task[]): Node[] {
  const nodes: Node[] = [];
  const held = new Set<Task>();
  for (const task of sequence) {
    if (isWait(task.node) && task.readers.length > 0) {
      held.add(task);
      continue;
    }
    for (const need of task.needs) if (held.delete(need)) nodes.push(need.node);
    nodes.push(task.node);
  }
  for (const task of held) nodes.push(task.node);
  return nodes;
}
