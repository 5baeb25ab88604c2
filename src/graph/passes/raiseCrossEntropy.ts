/** Pass: -sum(one-hot labels x log softmax) in the forms of tf.losses and tf.layers becomes MerakSoftmaxCrossEntropy. */
import type { Graph, Node, Value, ValueId } from '../graph.js';
import { matchLogSoftmax } from './logSoftmax.js';
import { type Rewriter, rewriteGraph } from './rewrite.js';
import { eitherOrder, type GraphView, inputOf, reducesLastDim, sizeOf } from './view.js';

/**
 * Raises where the labels are one-hot of integers and the result is the same within 1e-5: tf.losses.softmaxCrossEntropy,
 * tf.logSoftmax, and tf.layers' categorical cross-entropies on a softmax (their clipping to [1e-7, 1 - 1e-7] is kept, on
 * the loss; with over 100 classes their renormalisation would differ by more, and they are left alone).
 */
export function raiseCrossEntropy(graph: Graph): Graph {
  return rewriteGraph(graph, (node, rewriter) => {
    const product = matchNegativeSum(rewriter.view, node);
    if (product === undefined) return null;
    for (const [target, logProbability] of eitherOrder(product)) {
      const labels = oneHotLabels(rewriter.view, target);
      const logSoftmax = labels === undefined ? undefined : matchLogSoftmax(rewriter.view, logProbability);
      if (labels !== undefined && logSoftmax !== undefined) return [raise(node, rewriter, labels, logSoftmax)];
    }
    return null;
  });
}

/** The Multiply node under Neg(Sum(.)) or Sum(Neg(.)) over the last dim. */
function matchNegativeSum(view: GraphView, node: Node): Node | undefined {
  const kernels = node.kernel === 'Neg' ? ['Neg', 'Sum'] : node.kernel === 'Sum' ? ['Sum', 'Neg'] : undefined;
  if (kernels === undefined) return undefined;
  const inner = view.producer(inputOf(node, 'x')!, kernels[1]!);
  if (inner === undefined) return undefined;
  const sum = node.kernel === 'Sum' ? node : inner;
  if (!reducesLastDim(view, sum) || sum.attrs.keepDims === true) return undefined;
  return view.producer(inputOf(inner, 'x')!, 'Multiply');
}

/** The int32 indices behind one-hot rows seen through casts and reshapes that keep the last dim. */
function oneHotLabels(view: GraphView, id: ValueId): ValueId | undefined {
  const node = view.producer(id, 'Cast', 'Reshape', 'Identity', 'OneHot');
  if (node === undefined) return undefined;
  if (node.kernel === 'OneHot') {
    const { onValue = 1, offValue = 0 } = node.attrs;
    const indices = inputOf(node, 'indices')!;
    return onValue === 1 && offValue === 0 && view.value(indices).dtype === 'int32' ? indices : undefined;
  }
  const inner = inputOf(node, 'x')!;
  return view.value(inner).shape.at(-1) === view.value(id).shape.at(-1) ? oneHotLabels(view, inner) : undefined;
}

function raise(
  node: Node,
  { view, emit, emitOne }: Rewriter,
  labels: ValueId,
  { logits, clip }: { readonly logits: ValueId; readonly clip: readonly [number, number] | undefined },
): ValueId {
  const output = view.value(node.outputs[0]!);
  const { shape, dtype, batchDim } = view.value(logits);
  const numClasses = shape.at(-1)!;
  const rows = sizeOf(shape.slice(0, -1));
  // Flattening keeps the batch as the leading, slowest dim.
  const flatBatch = batchDim === 0 ? 0 : -1;
  const flatLogits: Value = { shape: [rows, numClasses], dtype, batchDim: flatBatch };
  const flatRows: Value = { shape: [rows], dtype: 'float32', batchDim: flatBatch };
  const flatLabels: Value = { shape: [rows], dtype: 'int32', batchDim: flatBatch };
  const inputs = {
    logits: emitOne('Reshape', { x: logits }, { shape: flatLogits.shape }, flatLogits),
    labels: emitOne('Reshape', { x: labels }, { shape: flatLabels.shape }, flatLabels),
  };
  const attrs = { vocabOffset: 0, vocabLimit: numClasses };
  let [loss] = emit('MerakSoftmaxCrossEntropy', inputs, attrs, [flatRows, flatRows]);
  if (clip !== undefined) {
    const [low, high] = clip;
    const bounds = { clipValueMin: Math.abs(Math.log(high)), clipValueMax: -Math.log(low) };
    loss = emitOne('ClipByValue', { x: loss! }, bounds, flatRows);
  }
  return emitOne('Reshape', { x: loss! }, { shape: output.shape }, output);
}
