/** Pass: drops what computes nothing (Identity, no-op Cast and Reshape, + 0, x 1) and merges chains of views. */
import type { Attr, Graph, Node, ValueId } from '../graph.js';
import { type Evaluator, evaluator } from './evaluate.js';
import { type Rewriter, rewriteGraph } from './rewrite.js';
import { inputOf, sameShape, viewGraph } from './view.js';

/** Repeats until nothing more can be dropped: a merged chain may leave a no-op behind. */
export function simplify(graph: Graph): Graph {
  for (let current = graph; ; ) {
    const constants = evaluator(viewGraph(current));
    const next = rewriteGraph(current, (node, rewriter) => simplifyNode(node, rewriter, constants));
    if (next === current) return current;
    current = next;
  }
}

function simplifyNode(node: Node, rewriter: Rewriter, constants: Evaluator): readonly ValueId[] | null {
  const x = inputOf(node, 'x');
  switch (node.kernel) {
    case 'Identity':
      return [x!];
    case 'Cast':
      return sameValue(node, x!, rewriter) ? [x!] : null;
    case 'Reshape':
      return sameValue(node, x!, rewriter) ? [x!] : mergeReshape(node, rewriter);
    case 'Transpose':
      return isIdentity(permutation(node)) ? [x!] : mergeTranspose(node, rewriter);
    case 'Tile':
      return sameValue(node, x!, rewriter) ? [x!] : null;
    case 'Concat':
      return node.inputs.length === 1 ? [node.inputs[0]!] : null;
    case 'MerakDropout':
      return node.attrs.rate === 0 ? [x!] : null;
    case 'Add':
      return neutral(node, rewriter, constants, 0, ['b', 'a']);
    case 'Sub':
      return neutral(node, rewriter, constants, 0, ['b']);
    case 'Multiply':
      return neutral(node, rewriter, constants, 1, ['b', 'a']);
    case 'RealDiv':
      return neutral(node, rewriter, constants, 1, ['b']);
    default:
      return null;
  }
}

function sameValue(node: Node, id: ValueId, { view }: Rewriter): boolean {
  const [before, after] = [view.value(id), view.value(node.outputs[0]!)];
  return before.dtype === after.dtype && sameShape(before.shape, after.shape);
}

function mergeReshape(node: Node, { view, emitOne }: Rewriter): ValueId[] | null {
  const inner = view.producer(inputOf(node, 'x')!, 'Reshape');
  if (inner === undefined) return null;
  const output = view.value(node.outputs[0]!);
  return [emitOne('Reshape', { x: inputOf(inner, 'x')! }, { shape: output.shape }, output)];
}

function mergeTranspose(node: Node, { view, emitOne }: Rewriter): ValueId[] | null {
  const inner = view.producer(inputOf(node, 'x')!, 'Transpose');
  if (inner === undefined) return null;
  const first = permutation(inner);
  const perm = permutation(node).map((dim) => first[dim]!);
  return [emitOne('Transpose', { x: inputOf(inner, 'x')! }, { perm }, view.value(node.outputs[0]!))];
}

function permutation(node: Node): number[] {
  return (node.attrs.perm as readonly Attr[]).map(Number);
}

function isIdentity(perm: readonly number[]): boolean {
  return perm.every((dim, index) => dim === index);
}

/** The other operand, when one of `operands` holds the neutral element and does not change the shape. */
function neutral(
  node: Node,
  rewriter: Rewriter,
  constants: Evaluator,
  element: number,
  operands: readonly ('a' | 'b')[],
): ValueId[] | null {
  for (const operand of operands) {
    const other = inputOf(node, operand === 'a' ? 'b' : 'a')!;
    if (sameValue(node, other, rewriter) && constants.scalarOf(inputOf(node, operand)!) === element) return [other];
  }
  return null;
}
