/** Pass: softmax(scale q k^T [+ causal mask]) v of batched matrix products becomes MerakAttention. */
import type { Graph, Node, Value, ValueId } from '../graph.js';
import { DROPPED_SCORE, isCausal, maskNumbers } from './causalMask.js';
import { type Evaluator, evaluator } from './evaluate.js';
import { type Rewriter, rewriteGraph } from './rewrite.js';
import { eitherOrder, type GraphView, inputOf, sameShape, viewGraph } from './view.js';

/**
 * Matches products of [B,h,T,d] or [B,T,d] (one head) values, the scale and the mask in any order between them, the mask
 * a constant: added, subtracted or selected. Other masks, and dropout on the weights, are left as they are.
 */
export function raiseAttention(graph: Graph): Graph {
  const constants = evaluator(viewGraph(graph));
  return rewriteGraph(graph, (node, rewriter) =>
    node.kernel === 'BatchMatMul' ? raise(node, rewriter, constants) : null,
  );
}

interface Scores {
  /** The q k^T node. */
  readonly product: Node;
  readonly scale: number;
  readonly causal: boolean;
}

function raise(node: Node, rewriter: Rewriter, constants: Evaluator): ValueId[] | null {
  const { view, emit, emitOne } = rewriter;
  const softmax = view.producer(inputOf(node, 'a')!, 'Softmax');
  if (softmax === undefined || node.attrs.transposeA === true || view.numUses(softmax.outputs[0]!) !== 1) return null;
  const output = view.value(node.outputs[0]!);
  const rank = output.shape.length;
  const { dim } = softmax.attrs;
  if ((rank !== 3 && rank !== 4) || (dim !== rank - 1 && dim !== -1)) return null;
  const scores = matchScores(view, constants, inputOf(softmax, 'logits')!);
  if (scores === undefined || !sameBatch(view, scores.product, node)) return null;

  const { product, scale, causal } = scores;
  const q = asHeads(rewriter, inputOf(product, 'a')!, product.attrs.transposeA === true);
  const k = asHeads(rewriter, inputOf(product, 'b')!, product.attrs.transposeB !== true);
  const v = asHeads(rewriter, inputOf(node, 'b')!, node.attrs.transposeB === true);
  const queries = view.value(product.outputs[0]!);
  const [B = 0, h = 0, numQueries = 0] = rank === 4 ? queries.shape : [queries.shape[0], 1, queries.shape[1]];
  const size = output.shape.at(-1)!;
  const out: Value = { shape: [B, numQueries, h, size], dtype: 'float32', batchDim: output.batchDim === 0 ? 0 : -1 };
  const logsumexp: Value = { shape: [B, h, numQueries], dtype: 'float32', batchDim: out.batchDim };
  const [mixed] = emit('MerakAttention', { q, k, v }, { causal, scale }, [out, logsumexp]);
  if (rank === 3) return [emitOne('Reshape', { x: mixed! }, { shape: output.shape }, output)];
  return [emitOne('Transpose', { x: mixed! }, { perm: [0, 2, 1, 3] }, output)];
}

/** Whether all three operands have the same leading dims (the kernel does not broadcast) and d as wide as q. */
function sameBatch(view: GraphView, product: Node, output: Node): boolean {
  const operands = [...product.inputs, inputOf(output, 'b')!].map((id) => view.value(id));
  const [first] = operands;
  const leading = first!.shape.slice(0, -2);
  if (!operands.every(({ shape, dtype }) => dtype === 'float32' && sameShape(shape.slice(0, -2), leading)))
    return false;
  const q = first!.shape;
  const queryWidth = product.attrs.transposeA === true ? q.at(-2) : q.at(-1);
  return queryWidth === view.value(output.outputs[0]!).shape.at(-1);
}

/** [B,h,T,d], or [B,h,d,T] when `swapped`, as [B,T,h,d]; rank 3 has one head. */
function asHeads({ view, emitOne }: Rewriter, id: ValueId, swapped: boolean): ValueId {
  const { shape, dtype, batchDim } = view.value(id);
  const perm = shape.length === 4 ? (swapped ? [0, 3, 1, 2] : [0, 2, 1, 3]) : [0, 2, 1];
  const transposed: Value = {
    shape: perm.map((dim) => shape[dim]!),
    dtype,
    batchDim: batchDim < 0 ? -1 : perm.indexOf(batchDim),
  };
  if (shape.length === 4) return emitOne('Transpose', { x: id }, { perm }, transposed);
  const rows = swapped ? emitOne('Transpose', { x: id }, { perm }, transposed) : id;
  const [B, T, d] = swapped ? transposed.shape : shape;
  const single = [B!, T!, 1, d!];
  return emitOne(
    'Reshape',
    { x: rows },
    { shape: single },
    { shape: single, dtype, batchDim: batchDim === 0 ? 0 : -1 },
  );
}

/** Walks from the softmax's input down to q k^T, gathering the scale and at most one mask. */
function matchScores(view: GraphView, constants: Evaluator, softmaxInput: ValueId): Scores | undefined {
  const shape = view.value(softmaxInput).shape;
  const [numQueries, numKeys] = [shape.at(-2)!, shape.at(-1)!];
  let id = softmaxInput;
  let scale = 1;
  let causal = false;
  for (;;) {
    if (!sameShape(view.value(id).shape, shape)) return undefined;
    const node = view.producer(id);
    if (node === undefined) return undefined;
    if (node.kernel === 'BatchMatMul') return { product: node, scale, causal };
    const scaled = matchScale(constants, node);
    if (scaled !== undefined) {
      id = scaled.x;
      scale *= scaled.factor;
      if (!(scale > 0)) return undefined;
      continue;
    }
    const masked = matchMask(view, constants, node, numQueries, numKeys, scale);
    if (masked === undefined) return undefined;
    id = masked;
    causal = true;
  }
}

function matchScale(constants: Evaluator, node: Node): { x: ValueId; factor: number } | undefined {
  if (node.kernel === 'Multiply') {
    for (const [x, by] of eitherOrder(node)) {
      const factor = constants.scalarOf(by);
      if (factor !== undefined) return { x, factor };
    }
  }
  if (node.kernel !== 'RealDiv') return undefined;
  const divisor = constants.scalarOf(inputOf(node, 'b')!);
  return divisor === undefined ? undefined : { x: inputOf(node, 'a')!, factor: 1 / divisor };
}

/** The scores under a causal mask, or undefined when the node is none. `scale` still multiplies what the node gives. */
function matchMask(
  view: GraphView,
  constants: Evaluator,
  node: Node,
  numQueries: number,
  numKeys: number,
  scale: number,
): ValueId | undefined {
  const numbers = (id: ValueId): ArrayLike<number> | undefined => maskNumbers(view, constants, id, numQueries, numKeys);
  const isMask = (
    id: ValueId,
    isVisible: (value: number) => boolean,
    isDropped: (value: number) => boolean,
  ): boolean => {
    const found = numbers(id);
    return found !== undefined && isCausal(found, numQueries, numKeys, isVisible, isDropped);
  };
  const isZero = (value: number): boolean => value === 0;
  const isOne = (value: number): boolean => value === 1;
  const isLow = (value: number): boolean => value * scale <= DROPPED_SCORE;

  if (node.kernel === 'Add') return eitherOrder(node).find(([, mask]) => isMask(mask, isZero, isLow))?.[0];
  if (node.kernel === 'Sub') {
    const [kept, mask] = [inputOf(node, 'a')!, inputOf(node, 'b')!];
    if (!isMask(mask, isZero, (value) => isLow(-value))) return undefined;
    // scores * visible - 1e10 * (1 - visible), as the first GPTs have it.
    const gated = view.producer(kept, 'Multiply');
    return (gated && eitherOrder(gated).find(([, gate]) => isMask(gate, isOne, isZero))?.[0]) ?? kept;
  }
  if (node.kernel !== 'Select') return undefined;
  const [condition, t, e] = [inputOf(node, 'condition')!, inputOf(node, 't')!, inputOf(node, 'e')!];
  const isLowEverywhere = (id: ValueId): boolean => {
    const low = constants.scalarOf(id) ?? constantFill(view, constants, id);
    return low !== undefined && isLow(low);
  };
  if (isLowEverywhere(e) && isMask(condition, isOne, isZero)) return t;
  return isLowEverywhere(t) && isMask(condition, isZero, isOne) ? e : undefined;
}

/** The number a constant too large to evaluate repeats. */
function constantFill(view: GraphView, constants: Evaluator, id: ValueId): number | undefined {
  const node = view.producer(id, 'Tile', 'BroadcastTo', 'Reshape', 'Identity', 'Fill');
  if (node?.kernel === 'Fill') return Number(node.attrs.value);
  if (node !== undefined) {
    const inner = inputOf(node, 'x')!;
    return constants.scalarOf(inner) ?? constantFill(view, constants, inner);
  }
  const data = view.constant(id);
  const first = data?.[0];
  return first !== undefined && data!.every((value) => value === first) ? first : undefined;
}
