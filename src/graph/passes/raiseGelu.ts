/** Pass: x / 2 (1 + erf(x / sqrt 2)) and its tanh approximation, however associated, become MerakGelu. */
import type { Graph, Node, ValueId } from '../graph.js';
import { type Evaluator, evaluator } from './evaluate.js';
import { rewriteGraph } from './rewrite.js';
import { eitherOrder, type GraphView, inputOf, sameShape, viewGraph } from './view.js';

const TOLERANCE = 1e-5;

export function raiseGelu(graph: Graph): Graph {
  const constants = evaluator(viewGraph(graph));
  return rewriteGraph(graph, (node, { view, emitOne }) => {
    if (node.kernel !== 'Multiply' && node.kernel !== 'RealDiv') return null;
    const match = matchGelu(view, constants, node);
    if (match === undefined) return null;
    const output = view.value(node.outputs[0]!);
    return [emitOne('MerakGelu', { x: match.x }, { approximate: match.approximate }, output)];
  });
}

/** A product: its constant coefficient and its other factors. */
interface Product {
  readonly coefficient: number;
  readonly factors: readonly ValueId[];
}

function matchGelu(
  view: GraphView,
  constants: Evaluator,
  node: Node,
): { x: ValueId; approximate: 'tanh' | 'none' } | undefined {
  const output = node.outputs[0]!;
  const { coefficient, factors } = product(view, constants, output);
  if (!near(coefficient, 0.5) || factors.length !== 2) return undefined;
  for (const [x, other] of [factors, [...factors].reverse()] as [ValueId, ValueId][]) {
    if (!sameShape(view.value(x).shape, view.value(output).shape)) continue;
    const inner = onePlus(view, constants, other);
    const curve = inner === undefined ? undefined : view.producer(inner, 'Erf', 'Tanh');
    if (curve === undefined) continue;
    const argument = product(view, constants, inputOf(curve, 'x')!);
    if (curve.kernel === 'Erf' && isErfArgument(argument, x)) return { x, approximate: 'none' };
    if (curve.kernel === 'Tanh' && isTanhArgument(view, constants, argument, x)) return { x, approximate: 'tanh' };
  }
  return undefined;
}

/** x / sqrt 2. */
function isErfArgument({ coefficient, factors }: Product, x: ValueId): boolean {
  return near(coefficient, Math.SQRT1_2) && factors.length === 1 && factors[0] === x;
}

/** sqrt(2 / pi) (x + 0.044715 x^3), the x inside or in front. */
function isTanhArgument(view: GraphView, constants: Evaluator, { coefficient, factors }: Product, x: ValueId): boolean {
  if (!near(coefficient, Math.sqrt(2 / Math.PI))) return false;
  const isPower = (id: ValueId, power: number): boolean => {
    const term = product(view, constants, id);
    return (
      near(term.coefficient, 0.044715) && term.factors.length === power && term.factors.every((factor) => factor === x)
    );
  };
  if (factors.length === 1) {
    const sum = view.producer(factors[0]!, 'Add');
    return sum !== undefined && eitherOrder(sum).some(([linear, cubic]) => linear === x && isPower(cubic, 3));
  }
  const rest = factors.filter((factor) => factor !== x);
  if (factors.length !== 2 || rest.length !== 1) return false;
  const square = onePlus(view, constants, rest[0]!);
  return square !== undefined && isPower(square, 2);
}

/** y of 1 + y. */
function onePlus(view: GraphView, constants: Evaluator, id: ValueId): ValueId | undefined {
  const sum = view.producer(id, 'Add');
  return sum && eitherOrder(sum).find(([one]) => constants.scalarOf(one) === 1)?.[1];
}

/** Flattens products, quotients by constants, squares and whole powers into coefficient and factors. */
function product(view: GraphView, constants: Evaluator, id: ValueId): Product {
  const scalar = constants.scalarOf(id);
  if (scalar !== undefined) return { coefficient: scalar, factors: [] };
  const node = view.producer(id, 'Multiply', 'RealDiv', 'Square', 'Pow');
  const opaque = { coefficient: 1, factors: [id] };
  if (node === undefined) return opaque;
  if (node.kernel === 'Square') return repeat(product(view, constants, inputOf(node, 'x')!), 2);
  const [a, b] = [inputOf(node, 'a')!, inputOf(node, 'b')!];
  if (node.kernel === 'Multiply') {
    const [left, right] = [product(view, constants, a), product(view, constants, b)];
    return { coefficient: left.coefficient * right.coefficient, factors: [...left.factors, ...right.factors] };
  }
  const by = constants.scalarOf(b);
  if (by === undefined) return opaque;
  const base = product(view, constants, a);
  if (node.kernel === 'RealDiv') return { ...base, coefficient: base.coefficient / by };
  return Number.isInteger(by) && by >= 1 && by <= 4 ? repeat(base, by) : opaque;
}

function repeat({ coefficient, factors }: Product, times: number): Product {
  return { coefficient: coefficient ** times, factors: Array.from({ length: times }, () => factors).flat() };
}

function near(value: number, expected: number): boolean {
  return Math.abs(value - expected) <= TOLERANCE * expected;
}
