/** Pass: batch normalisation by the statistics of the batch, with the residual sum and relu behind it, becomes MerakBatchNorm. */
import { numberAttr } from '../attrs.js';
import { eliminateDeadNodes } from '../clean.js';
import type { Graph, GraphConstant, Node, Value, ValueId } from '../graph.js';
import { throughCasts, throughReshapes } from './moments.js';
import { type GraphView, inputOf, sameShape, sizeOf, viewGraph } from './view.js';

interface Match {
  readonly x: ValueId;
  readonly mean: ValueId;
  readonly variance: ValueId;
  /** From the mean to the normalised value; what is left unread of them goes. */
  readonly nodes: readonly Node[];
}

interface Tail {
  /** The sum and the relu, where there are any. */
  readonly nodes: readonly Node[];
  readonly residual: ValueId | undefined;
  readonly output: ValueId;
}

type Readers = ReadonlyMap<ValueId, readonly Node[]>;

/**
 * Only where mean and variance serve nothing else but updates of parameters, through which no gradient flows. The node stands where
 * the last of its parts stood, and what reads the statistics behind it; values keep their ids.
 */
export function raiseBatchNorm(graph: Graph): Graph {
  const view = viewGraph(graph);
  const readers = readersOf(graph);
  const values: Value[] = [...graph.values];
  const constants: GraphConstant[] = [...graph.constants];
  const removed = new Set<Node>();
  const raised = new Map<Node, Node>();
  const row = (id: ValueId | undefined, width: number, fill: number): ValueId => {
    if (id !== undefined) return id;
    const value = values.push({ shape: [width], dtype: 'float32', batchDim: -1 }) - 1;
    constants.push({ value, data: new Float32Array(width).fill(fill) });
    return value;
  };

  for (const norm of graph.nodes) {
    const match = norm.kernel === 'FusedBatchNorm' ? matchStatistics(view, norm) : undefined;
    if (match === undefined || !servesUpdatesOnly(graph, readers, match)) continue;
    const { x, mean, variance } = match;
    const tail = tailOf(view, readers, norm, removed);
    const width = view.value(mean).shape[0] ?? 1;
    const gamma = row(inputOf(norm, 'scale'), width, 1);
    const beta = row(inputOf(norm, 'offset'), width, 0);
    const more = tail.residual === undefined ? [] : [tail.residual];
    const attrs = {
      epsilon: numberAttr(norm.attrs, 'varianceEpsilon'),
      activation: tail.nodes.length > 0 ? 'relu' : 'linear',
      residual: more.length > 0,
    };
    const last = tail.nodes.at(-1) ?? norm;
    raised.set(last, {
      ...norm,
      kernel: 'MerakBatchNorm',
      inputs: [x, gamma, beta, ...more],
      inputNames: ['x', 'gamma', 'beta', ...more.map(() => 'residual')],
      outputs: [tail.output, mean, variance],
      attrs,
    });
    for (const node of [view.producer(mean)!, view.producer(variance)!, norm, ...tail.nodes]) removed.add(node);
  }
  if (raised.size === 0) return graph;
  const nodes = graph.nodes.flatMap((node) => raised.get(node) ?? (removed.has(node) ? [] : [node]));
  return eliminateDeadNodes({ ...graph, values, constants, nodes: inOrder(nodes) });
}

function readersOf(graph: Graph): Readers {
  const readers = new Map<ValueId, Node[]>();
  for (const node of graph.nodes)
    for (const input of new Set(node.inputs)) readers.set(input, [...(readers.get(input) ?? []), node]);
  return readers;
}

/** x [..., C] normalised by mean and variance [C] over all its other dims, as tf.moments computes them. */
function matchStatistics(view: GraphView, norm: Node): Match | undefined {
  const [x, mean, variance] = ['x', 'mean', 'variance'].map((name) => inputOf(norm, name)!) as [
    ValueId,
    ValueId,
    ValueId,
  ];
  const { shape } = view.value(x);
  const channels = shape.slice(-1);
  const isRow = (id: ValueId | undefined) => id === undefined || sameShape(view.value(id).shape, channels);
  const isFloat = norm.inputs.every((id) => view.value(id).dtype === 'float32');
  if (!isFloat || shape.length < 2 || sizeOf(shape) === 0) return undefined;
  if (![mean, variance, inputOf(norm, 'scale'), inputOf(norm, 'offset')].every(isRow)) return undefined;
  const [meanNode, varianceNode] = [view.producer(mean, 'Mean'), view.producer(variance, 'Mean')];
  if (meanNode === undefined || varianceNode === undefined) return undefined;
  if (![meanNode, varianceNode].every((node) => reducesAllButChannels(view, node, channels[0]!))) return undefined;
  // tfjs normalises every rank as [N, 1, 1, C], of what it took the moments unshaped.
  const isX = (id: ValueId) => throughReshapes(view, throughCasts(view, id)) === throughReshapes(view, x);
  if (!isX(meanNode.inputs[0]!)) return undefined;
  const squared = view.producer(throughCasts(view, varianceNode.inputs[0]!), 'Square', 'SquaredDifference');
  const difference = squared?.kernel === 'Square' ? view.producer(squared.inputs[0]!, 'Sub') : squared;
  if (squared === undefined || difference === undefined) return undefined;
  const [a, b] = [inputOf(difference, 'a')!, inputOf(difference, 'b')!];
  const isDeviation = isX(a) && throughReshapes(view, b) === mean && view.value(b).shape.at(-1) === shape.at(-1);
  const inner = new Set([squared, difference]);
  const areRead = [...inner].every((node) => view.numUses(node.outputs[0]!) === 1);
  const isWhole = sameShape(view.value(difference.outputs[0]!).shape, view.value(meanNode.inputs[0]!).shape);
  if (!isDeviation || !areRead || !isWhole) return undefined;
  return { x, mean, variance, nodes: [meanNode, ...inner, varianceNode, norm] };
}

function reducesAllButChannels(view: GraphView, mean: Node, channels: number): boolean {
  const { shape } = view.value(mean.inputs[0]!);
  const rank = shape.length;
  const axes = new Set([mean.attrs.axis].flat().map((axis) => (Number(axis) + rank) % rank));
  return shape[rank - 1] === channels && axes.size === rank - 1 && !axes.has(rank - 1);
}

/** Whether what is made of the statistics, the norm itself left out, ends in updates. */
function servesUpdatesOnly(graph: Graph, readers: Readers, { mean, variance, nodes }: Match): boolean {
  const own = new Set(nodes);
  const outputs = new Set(graph.outputs.map(({ value }) => value));
  const reached = new Set<ValueId>([mean, variance]);
  for (const value of reached) {
    if (outputs.has(value)) return false;
    for (const node of readers.get(value) ?? [])
      if (!own.has(node)) for (const output of node.outputs) reached.add(output);
  }
  return nodes.slice(1, -1).every((node) => node.outputs[0] === variance || !reached.has(node.outputs[0]!));
}

/** A relu that alone reads the norm, or the sum of it and another value as large. */
function tailOf(view: GraphView, readers: Readers, norm: Node, removed: ReadonlySet<Node>): Tail {
  const output = norm.outputs[0]!;
  const none: Tail = { nodes: [], residual: undefined, output };
  const onlyReader = (value: ValueId, kernel: string): Node | undefined => {
    const [reader] = readers.get(value) ?? [];
    return view.numUses(value) === 1 && reader?.kernel === kernel && !removed.has(reader) ? reader : undefined;
  };
  const relu = onlyReader(output, 'Relu');
  if (relu !== undefined) return { nodes: [relu], residual: undefined, output: relu.outputs[0]! };
  const add = onlyReader(output, 'Add');
  const residual = add?.inputs.find((input) => input !== output);
  const after = add === undefined ? undefined : onlyReader(add.outputs[0]!, 'Relu');
  if (add === undefined || residual === undefined || after === undefined) return none;
  const [own, other] = [view.value(output), view.value(residual)];
  if (!sameShape(own.shape, other.shape) || other.dtype !== 'float32') return none;
  return { nodes: [add, after], residual, output: after.outputs[0]! };
}

/** As they are, but that a node waits for those it reads. */
function inOrder(nodes: readonly Node[]): Node[] {
  const unmade = new Set(nodes.flatMap(({ outputs }) => outputs));
  const ordered: Node[] = [];
  let waiting: Node[] = [];
  const place = (node: Node): boolean => {
    if (node.inputs.some((input) => unmade.has(input))) return false;
    for (const output of node.outputs) unmade.delete(output);
    ordered.push(node);
    return true;
  };
  for (const node of nodes) {
    if (!place(node)) waiting.push(node);
    else if (waiting.length > 0) waiting = waiting.filter((other) => !place(other));
  }
  return ordered;
}
