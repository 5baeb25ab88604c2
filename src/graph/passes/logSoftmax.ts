/** Recognising log softmax in the forms tfjs writes it. */
import { numberAttr } from '../attrs.js';
import type { Node, ValueId } from '../graph.js';
import { type GraphView, inputOf, reducesLastDim } from './view.js';

export interface LogSoftmax {
  readonly logits: ValueId;
  /** The bounds its probabilities were clipped to. */
  readonly clip: readonly [low: number, high: number] | undefined;
}

/** With more classes, renormalising clipped probabilities moves a loss by over 1e-5: log(1 + 100 * 1e-7). */
const MAX_RENORMALISED_CLASSES = 100;
const MAX_CLIP = 1e-7 * (1 + 1e-6);

/** What a value is the log softmax of, over the last dim. */
export function matchLogSoftmax(view: GraphView, id: ValueId): LogSoftmax | undefined {
  const node = view.producer(id, 'LogSoftmax', 'Log', 'Sub', 'Cast', 'Identity');
  switch (node?.kernel) {
    case 'LogSoftmax':
      return { logits: inputOf(node, 'logits') ?? node.inputs[0]!, clip: undefined };
    case 'Log':
      return matchProbabilities(view, inputOf(node, 'x')!);
    case 'Sub': {
      const logits = matchDifference(view, node);
      return logits === undefined ? undefined : { logits, clip: undefined };
    }
    case 'Cast':
    case 'Identity':
      return matchLogSoftmax(view, inputOf(node, 'x')!);
    default:
      return undefined;
  }
}

/** Softmax, clipped, or clipped, divided by its sum and clipped again (tf.layers). */
function matchProbabilities(view: GraphView, id: ValueId): LogSoftmax | undefined {
  const softmax = softmaxLogits(view, id);
  if (softmax !== undefined) return { logits: softmax, clip: undefined };
  const outer = view.producer(id, 'ClipByValue');
  const clip = outer && clipBounds(outer);
  if (outer === undefined || clip === undefined) return undefined;
  const inner = inputOf(outer, 'x')!;
  const clipped = softmaxLogits(view, inner);
  if (clipped !== undefined) return { logits: clipped, clip };

  const quotient = view.producer(inner, 'RealDiv');
  if (quotient === undefined) return undefined;
  const probabilities = inputOf(quotient, 'a')!;
  const sum = view.producer(throughReshape(view, inputOf(quotient, 'b')!), 'Sum');
  if (sum === undefined || inputOf(sum, 'x') !== probabilities || !reducesLastDim(view, sum)) return undefined;
  const first = view.producer(probabilities, 'ClipByValue');
  if (first !== undefined && clipBounds(first) === undefined) return undefined;
  const logits = softmaxLogits(view, first === undefined ? probabilities : inputOf(first, 'x')!);
  const fits =
    logits !== undefined && (first === undefined || view.value(logits).shape.at(-1)! <= MAX_RENORMALISED_CLASSES);
  return fits ? { logits, clip } : undefined;
}

function softmaxLogits(view: GraphView, id: ValueId): ValueId | undefined {
  const softmax = view.producer(id, 'Softmax');
  const logits = softmax && inputOf(softmax, 'logits')!;
  if (softmax === undefined || logits === undefined) return undefined;
  const { dim } = softmax.attrs;
  return dim === -1 || dim === view.value(logits).shape.length - 1 ? logits : undefined;
}

/** Bounds of the kind [tiny, 1 - tiny], which move no probability by more than 1e-7. */
function clipBounds(node: Node): readonly [number, number] | undefined {
  const [low, high] = [numberAttr(node.attrs, 'clipValueMin'), numberAttr(node.attrs, 'clipValueMax')];
  return low > 0 && low <= MAX_CLIP && 1 - high <= MAX_CLIP && high <= 1 ? [low, high] : undefined;
}

/** z of z - logSumExp(z), or of (z - max z) - log(sum(exp(z - max z))). */
function matchDifference(view: GraphView, node: Node): ValueId | undefined {
  const left = throughCast(view, inputOf(node, 'a')!);
  const right = throughReshape(view, inputOf(node, 'b')!);
  const log = view.producer(right, 'Log');
  if (log !== undefined) {
    const shifted = shiftedOfLogSum(view, log);
    return shifted !== undefined && shifted.value === left ? shifted.logits : undefined;
  }
  const sum = view.producer(right, 'Add');
  if (sum === undefined) return undefined;
  const operands = [inputOf(sum, 'a')!, inputOf(sum, 'b')!];
  for (const [max, logSum] of [operands, [...operands].reverse()]) {
    const inner = view.producer(throughReshape(view, logSum!), 'Log');
    const shifted = inner && shiftedOfLogSum(view, inner);
    if (shifted?.logits === left && throughReshape(view, max!) === shifted.max) return left;
  }
  return undefined;
}

/** The parts of log(sum(exp(z - max z))) over the last dim. */
function shiftedOfLogSum(view: GraphView, log: Node): { value: ValueId; logits: ValueId; max: ValueId } | undefined {
  const sum = view.producer(throughReshape(view, inputOf(log, 'x')!), 'Sum');
  const exp = sum && view.producer(inputOf(sum, 'x')!, 'Exp');
  const difference = exp && view.producer(throughCast(view, inputOf(exp, 'x')!), 'Sub');
  if (sum === undefined || difference === undefined || !reducesLastDim(view, sum)) return undefined;
  const logits = inputOf(difference, 'a')!;
  const max = throughReshape(view, inputOf(difference, 'b')!);
  const maximum = view.producer(max, 'Max');
  if (maximum === undefined || inputOf(maximum, 'x') !== logits || !reducesLastDim(view, maximum)) return undefined;
  return { value: difference.outputs[0]!, logits, max };
}

function throughReshape(view: GraphView, id: ValueId): ValueId {
  const reshape = view.producer(id, 'Reshape', 'Identity');
  return reshape === undefined ? id : throughReshape(view, inputOf(reshape, 'x')!);
}

function throughCast(view: GraphView, id: ValueId): ValueId {
  const cast = view.producer(id, 'Cast', 'Identity');
  return cast !== undefined && view.value(inputOf(cast, 'x')!).dtype === view.value(id).dtype
    ? throughCast(view, inputOf(cast, 'x')!)
    : id;
}
