/** Merak's fused kernels: attention by heads, layer norm by rows, cross-entropy by vocabulary, random numbers by offset. */
import type { Attrs, Node } from '../../graph/graph.js';
import type { Layout } from '../layout.js';
import { FactorList, type LocalCall, type LocalContext, type RuleMaker, withAttrs } from '../rule.js';
import { numberList } from './attributes.js';

/** q [B, Tq, h, d], k and v [B, Tk, h, d], optional mask [B, Tk] -> out [B, Tq, h, d], logsumexp [B, h, Tq]. */
const attention: RuleMaker = (node, shapes) => {
  const [batchSize = 1, numQueries = 1, numHeads = 1, headSize = 1] = shapes.inputs[0] ?? [];
  const list = new FactorList();
  const batch = list.parallel(batchSize);
  const heads = list.parallel(numHeads);
  const queries = list.whole(numQueries);
  const keys = list.whole(shapes.inputs[1]?.[1] ?? 1);
  const width = list.whole(headSize);
  const dimsOf = (name: string): number[][] => {
    if (name === 'mask') return [[batch], [keys]];
    return [[batch], [name === 'q' ? queries : keys], [heads], [width]];
  };
  return {
    factors: list.factors,
    inputs: node.inputNames.map(dimsOf),
    outputs: [
      [[batch], [queries], [heads], [width]],
      [[batch], [heads], [queries]],
    ],
    linear: [],
  };
};

/** Rows are normalised one by one: every dim but the last may be split. */
const layerNorm: RuleMaker = (_node, shapes) => {
  const [x = []] = shapes.inputs;
  const list = new FactorList();
  const rows = x.slice(0, -1).map((size) => [list.parallel(size)]);
  const width = list.whole(x.at(-1) ?? 1);
  return {
    factors: list.factors,
    inputs: [[...rows, [width]], [[width]], [[width]]],
    outputs: [[...rows, [width]], rows, rows],
    linear: [],
  };
};

/**
 * logits [N, V], labels [N] -> loss [N], logsumexp [N]. With the vocabulary over the ranks it becomes
 * MerakVocabParallelCrossEntropy, which exchanges by itself.
 */
const crossEntropy: RuleMaker = (node, shapes) => {
  const [rows = 1, vocabulary = 1] = shapes.inputs[0] ?? [];
  const limit = node.attrs.vocabLimit ?? vocabulary;
  const offset = node.attrs.vocabOffset ?? 0;
  const list = new FactorList();
  const samples = list.parallel(rows);
  // A call that already masks columns, or starts elsewhere, is somebody's own sharding: leave it whole.
  const plain = limit === vocabulary && offset === 0;
  const columns = plain ? list.add(vocabulary, 'meet', 'wanted', true) : list.whole(vocabulary);
  return {
    factors: list.factors,
    inputs: [[[samples], [columns]], [[samples]]],
    outputs: [[[samples]], [[samples]]],
    linear: [],
    localise: (local) => (local.factor === columns ? ownColumns(local) : withAttrs(node, {})),
  };
};

function ownColumns({ node, index, degree, inputShapes, localInputShapes }: LocalContext): LocalCall {
  const vocabulary = inputShapes[0]?.[1] ?? 0;
  const numColumns = localInputShapes[0]?.[1] ?? 0;
  const vocabOffset = index * numColumns;
  return {
    kernel: 'MerakVocabParallelCrossEntropy',
    inputNames: node.inputNames,
    attrs: {
      axis: 'tp',
      vocabOffset,
      vocabLimit: Math.min(numColumns, Math.max(0, vocabulary - vocabOffset)),
      padded: numColumns * degree !== vocabulary,
    },
  };
}

/** Element by element; a rank's piece must be one box, so that `offsets` says where it lies in `globalShape`. */
const random: RuleMaker = (node, shapes) => {
  const list = new FactorList();
  const dims = (shapes.outputs[0] ?? []).map((size) => [list.add(size, 'parallel', 'never', true)]);
  return {
    factors: list.factors,
    inputs: shapes.inputs.map(() => dims),
    outputs: [dims],
    // The same elements are dropped on every rank, so dropout is linear; random values have no input.
    linear: node.kernel === 'MerakDropout' ? [[0]] : [],
    localise: ownBox,
  };
};

function ownBox({ node, index, outputLayouts, outputShapes, localOutputShapes }: LocalContext): LocalCall {
  const layout = outputLayouts[0];
  const shape = localOutputShapes[0] ?? [];
  const given = numberList(node.attrs.offsets) ?? [];
  const offsets = shape.map((size, dim) => {
    const start = layout?.kind === 'shard' && layout.dim === dim ? index * size : 0;
    return (given[dim] ?? 0) + start;
  });
  return withAttrs(node, {
    offsets,
    ...(node.kernel === 'MerakRandom' ? { shape } : {}),
    ...wholeBatchExtent(node, layout, outputShapes[0] ?? []),
  });
}

/** A piece of the batch dim no longer says how long a micro-batch is. */
function wholeBatchExtent({ attrs }: Node, layout: Layout | undefined, shape: readonly number[]): Attrs {
  const { batchDim, batchExtent } = attrs;
  if (typeof batchDim !== 'number' || batchDim < 0 || layout?.kind !== 'shard' || layout.dim !== batchDim) return {};
  return { batchExtent: batchExtent ?? shape[batchDim] ?? 1 };
}

export const FUSED_RULES: ReadonlyMap<string, RuleMaker> = new Map([
  ['MerakAttention', attention],
  ['MerakLayerNorm', layerNorm],
  ['MerakSoftmaxCrossEntropy', crossEntropy],
  ['MerakDropout', random],
  ['MerakRandom', random],
]);
