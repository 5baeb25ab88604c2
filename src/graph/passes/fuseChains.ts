/**
 * Chains of element-wise nodes, and a reduction of what they make, become single nodes: one launch on a card, and nothing between the
 * steps goes through memory.
 */
import type { Attrs, Graph, Node, ValueId } from '../graph.js';
import { hasExchangeBetween } from './exchanges.js';
import { inputOf, sameShape } from './view.js';

/** What the engine's chains take (native/ops/cuda/chain.h). */
const MOST_INPUTS = 16;
/** Longer chains only keep registers. */
const MOST_STEPS = 32;

/** One operation of a chain; operands count its node's inputs. */
interface Step {
  readonly kernel: string;
  readonly operands: readonly ValueId[];
  readonly numbers: readonly number[];
}

const UNARY =
  'Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Elu Erf Exp Expm1 Floor IsFinite IsInf IsNan Log Log1p LogicalNot Neg Reciprocal Relu Relu6 Round Rsqrt Selu Sigmoid Sign Sin Sinh Softplus Sqrt Square Tan Tanh'.split(
    ' ',
  );
const BINARY =
  'Add Sub Multiply RealDiv Maximum Minimum Pow SquaredDifference Atan2 Equal NotEqual Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr LogicalXor'.split(
    ' ',
  );

/** Names of the operands, in the order of the engine's operation. */
const OPERANDS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    ...Object.fromEntries([...UNARY, 'ClipByValue', 'Step', 'LeakyRelu', 'Cast'].map((kernel) => [kernel, ['x']])),
    ...Object.fromEntries(BINARY.map((kernel) => [kernel, ['a', 'b']])),
    Prelu: ['x', 'alpha'],
    EluGrad: ['dy', 'y'],
    Select: ['condition', 't', 'e'],
  }),
);

function numbersOf({ kernel, attrs }: Node): readonly number[] {
  const number = (name: string, fallback: number) => Number((attrs[name] as number | undefined) ?? fallback);
  if (kernel === 'ClipByValue') return [number('clipValueMin', Number.NaN), number('clipValueMax', Number.NaN)];
  if (kernel === 'Step') return [number('alpha', 0)];
  if (kernel === 'LeakyRelu') return [number('alpha', 0.2)];
  return [];
}

/** The node as a step of a chain; undefined where integers take part (chains with them compute in double) or shapes do not fit. */
function stepOf(graph: Graph, node: Node): Step | undefined {
  const names = OPERANDS.get(node.kernel);
  const [output] = node.outputs;
  if (names === undefined || output === undefined || node.outputs.length > 1) return undefined;
  const operands = names.map((name) => inputOf(node, name));
  if (operands.some((operand) => operand === undefined)) return undefined;
  const values = operands as ValueId[];
  const isPlain = (id: ValueId) => {
    const { dtype, storedAs } = graph.values[id]!;
    return dtype !== 'int32' && storedAs !== 'int8';
  };
  if (![...values, output].every(isPlain)) return undefined;
  const { shape, dtype } = graph.values[output]!;
  if (node.kernel === 'Select' && !values.every((id) => sameShape(graph.values[id]!.shape, shape))) return undefined;
  // -true is true, as in tfjs.
  if (node.kernel === 'Neg' && dtype === 'bool') return undefined;
  const kernel = node.kernel !== 'Cast' ? node.kernel : dtype === 'bool' ? 'NotZero' : 'Identity';
  return { kernel, operands: values, numbers: numbersOf(node) };
}

/** A reduction that may end a chain: of what, over which dims. */
interface Reduction {
  readonly value: ValueId;
  readonly axes: readonly number[];
}

/** Only of floats, and only over neighbouring dims: others are transposed first (native/ops/cuda/reduce.cpp). */
function reductionOf(graph: Graph, { kernel, inputs, outputs, attrs }: Node): Reduction | undefined {
  const [value] = inputs;
  if (!['Sum', 'Mean', 'Max', 'Min'].includes(kernel) || value === undefined) return undefined;
  const isFloat = (id: ValueId) => graph.values[id]!.dtype === 'float32' && graph.values[id]!.storedAs === undefined;
  if (![value, ...outputs].every(isFloat)) return undefined;
  const { shape } = graph.values[value]!;
  // One dim, several, or all of them.
  const axes = [(kernel === 'Max' ? attrs.reductionIndices : attrs.axis) ?? shape.map((_, d) => d)].flat() as number[];
  const named = new Set(axes.map((axis) => (axis < 0 ? axis + shape.length : axis)));
  const groups = shape
    .map((size, d) => ({ size, isReduced: named.has(d) }))
    .filter(({ size }) => size !== 1)
    .filter(({ isReduced }, k, all) => isReduced && (k === 0 || !all[k - 1]!.isReduced));
  return groups.length <= 1 ? { value, axes: [...named] } : undefined;
}

/**
 * The same nodes with MerakFused in place of chains: steps of one shape, each read by later steps of the chain only and not
 * `isKept`, perhaps reduced at the end. A chain stands where its last step stood; no step is moved past an exchange. Before that, sums
 * with a dropout become the dropout's own.
 */
export function fuseChains(graph: Graph, all: readonly Node[], isKept: (value: ValueId) => boolean): readonly Node[] {
  const nodes = joinDropouts(graph, all, isKept);
  const steps = nodes.map((node) => stepOf(graph, node));
  const madeBy = new Map<ValueId, number>();
  const readers = new Map<ValueId, number[]>();
  nodes.forEach((node, at) => {
    for (const output of node.outputs) madeBy.set(output, at);
    for (const input of new Set(node.inputs)) readers.set(input, [...(readers.get(input) ?? []), at]);
  });
  const replaced = new Map<number, Node>();
  const taken = new Set<number>();

  for (let last = nodes.length - 1; last >= 0; last--) {
    if (taken.has(last)) continue;
    const reduction = reductionOf(graph, nodes[last]!);
    const operands = reduction === undefined ? steps[last]?.operands : [reduction.value];
    if (operands === undefined) continue;
    const { shape } = graph.values[reduction?.value ?? nodes[last]!.outputs[0]!]!;
    const chain = new Set([last]);
    const inputs = new Set(operands);
    const joins = (value: ValueId): number | undefined => {
      const at = madeBy.get(value);
      const step = at === undefined ? undefined : steps[at];
      if (at === undefined || step === undefined || taken.has(at) || isKept(value)) return undefined;
      if (!sameShape(graph.values[value]!.shape, shape) || !readers.get(value)!.every((reader) => chain.has(reader)))
        return undefined;
      const more = step.operands.filter((operand) => !inputs.has(operand)).length;
      if (chain.size === MOST_STEPS || inputs.size - 1 + more > MOST_INPUTS) return undefined;
      return hasExchangeBetween(nodes, at, last) ? undefined : at;
    };
    for (let found = true; found; ) {
      found = false;
      for (const value of inputs) {
        const at = joins(value);
        if (at === undefined) continue;
        chain.add(at);
        inputs.delete(value);
        for (const operand of steps[at]!.operands) inputs.add(operand);
        found = true;
      }
    }
    if (chain.size === 1 || inputs.size === 0) continue;
    const order = [...chain].sort((a, b) => a - b);
    const own = reduction === undefined ? order : order.slice(0, -1);
    const fused = fusedNode(nodes, steps as readonly Step[], own, [...inputs]);
    replaced.set(last, reduction === undefined ? fused : reduced(fused, nodes[last]!, shape, reduction));
    for (const at of chain) taken.add(at);
  }
  if (replaced.size === 0) return nodes;
  return nodes.flatMap((node, at) => replaced.get(at) ?? (taken.has(at) ? [] : [node]));
}

/** Sums with a dropout's result, which nothing else reads, become the dropout's own: it takes the other term as `residual`. */
function joinDropouts(graph: Graph, nodes: readonly Node[], isKept: (value: ValueId) => boolean): readonly Node[] {
  const dropoutOf = new Map<ValueId, number>();
  const numReaders = new Map<ValueId, number>();
  nodes.forEach((node, at) => {
    if (node.kernel === 'MerakDropout' && node.inputs.length === 1) dropoutOf.set(node.outputs[0]!, at);
    for (const input of node.inputs) numReaders.set(input, (numReaders.get(input) ?? 0) + 1);
  });
  const gone = new Set<number>();
  const joined = nodes.map((node, at) => {
    const [a, b] = node.inputs;
    if (node.kernel !== 'Add' || a === undefined || b === undefined) return node;
    for (const [term, residual] of [
      [a, b],
      [b, a],
    ] as const) {
      const from = dropoutOf.get(term);
      if (from === undefined || numReaders.get(term) !== 1 || isKept(term) || gone.has(from)) continue;
      const [own, other, sum] = [graph.values[term]!, graph.values[residual]!, graph.values[node.outputs[0]!]!];
      const isFloat = [own, other, sum].every(({ dtype, storedAs }) => dtype === 'float32' && storedAs === undefined);
      if (!isFloat || !sameShape(own.shape, other.shape) || hasExchangeBetween(nodes, from, at)) continue;
      gone.add(from);
      const dropout = nodes[from]!;
      const inputs = { inputs: [dropout.inputs[0]!, residual], inputNames: [dropout.inputNames[0]!, 'residual'] };
      return { ...dropout, ...inputs, outputs: node.outputs };
    }
    return node;
  });
  return gone.size === 0 ? nodes : joined.filter((_, at) => !gone.has(at));
}

/** Attributes as native/ops/cuda/elementwise.cpp reads them. */
function fusedNode(
  nodes: readonly Node[],
  steps: readonly Step[],
  order: readonly number[],
  inputs: readonly ValueId[],
): Node {
  const last = nodes[order.at(-1)!]!;
  const number = new Map<ValueId, number>(inputs.map((value, index) => [value, index]));
  for (const [index, at] of order.entries()) number.set(nodes[at]!.outputs[0]!, inputs.length + index);
  const own = order.map((at) => steps[at]!);
  const attrs: Attrs = {
    kernels: own.map(({ kernel }) => kernel),
    operands: own.flatMap(({ operands }) => operands.map((operand) => number.get(operand)!)),
    counts: own.map(({ operands }) => operands.length),
    numbers: own.flatMap(({ numbers }) => numbers),
    numberCounts: own.map(({ numbers }) => numbers.length),
  };
  const inputNames = inputs.map((_, index) => `x${index}`);
  return { ...last, kernel: 'MerakFused', inputs, inputNames, attrs };
}

/** The chain with the reduction of what it makes. */
function reduced(chain: Node, last: Node, shape: readonly number[], { axes }: Reduction): Node {
  const attrs: Attrs = { ...chain.attrs, reduction: last.kernel, shape: [...shape], axes: [...axes] };
  return { ...chain, outputs: last.outputs, scope: last.scope, attrs };
}
