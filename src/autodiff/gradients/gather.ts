/** Gathering rows: one scatter-add kernel instead of tfjs's loop over batches and transposes. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import { fromStart, input, number, only, product, range } from './access.js';
import { reshapeTo } from './broadcast.js';
import type { GradientRules } from './rule.js';

export const gatherGradients: GradientRules = {
  /**
   * x is seen as [B, O, V, I] (B batch dims, V the gathered axis), indices as [B, K], dy as [B, O, K, I]. Rows are numbered
   * across batches, so that the whole gradient is one MerakEmbeddingGrad of [B K, O I] into [B V, O I].
   */
  GatherV2: (dys, call) => {
    const x = input(call, 'x');
    const indices = input(call, 'indices');
    const axis = fromStart(number(call.attrs, 'axis', 0), x.rank);
    const batchDims = number(call.attrs, 'batchDims', 0);
    const batch = product(x.shape.slice(0, batchDims));
    const outer = product(x.shape.slice(batchDims, axis));
    const rows = x.shape[axis] ?? 0;
    const inner = product(x.shape.slice(axis + 1));
    const count = product(indices.shape.slice(batchDims));
    return {
      x: () => {
        const values = swapMiddle(reshapeTo(only(dys), [batch, outer, count, inner]));
        const gradient = embeddingGradient(
          reshapeTo(values, [batch * count, outer * inner]),
          rowNumbers(indices, batch, count, rows),
          batch * rows,
        );
        return reshapeTo(swapMiddle(reshapeTo(gradient, [batch, rows, outer, inner])), x.shape);
      },
    };
  },
  /** No gradient in tfjs. Each of the k values goes back to where it came from in the last dim. */
  TopK: (dys, call) => {
    const x = input(call, 'x');
    const [dy] = dys;
    const [, indices] = call.outputs;
    return {
      x: () => {
        if (dy === undefined || indices === undefined)
          throw new MerakError('autodiff/no-gradient', 'TopK without outputs');
        const places = tf.oneHot(indices as tf.Tensor<tf.Rank>, x.shape.at(-1) ?? 1);
        return tf.sum(tf.mul(tf.cast(places, 'float32'), tf.expandDims(dy, -1)), -2);
      },
    };
  },
};

/** [B, O, V, I] to [B, V, O, I] and back. */
function swapMiddle(x: tf.Tensor): tf.Tensor {
  const [batch = 1, first = 1, second = 1, inner = 1] = x.shape;
  return first === 1 || second === 1 ? reshapeTo(x, [batch, second, first, inner]) : tf.transpose(x, [0, 2, 1, 3]);
}

function rowNumbers(indices: tf.Tensor, batch: number, count: number, rows: number): tf.Tensor {
  const ids = indices.dtype === 'int32' ? indices : tf.cast(indices, 'int32');
  if (batch === 1) return reshapeTo(ids, [count]);
  const offsets = tf.tensor2d(
    range(batch).map((index) => index * rows),
    [batch, 1],
    'int32',
  );
  return tf.reshape(tf.add(tf.reshape(ids, [batch, count]), offsets), [batch * count]);
}

function embeddingGradient(dy: tf.Tensor, ids: tf.Tensor, vocabSize: number): tf.Tensor {
  const attrs = { vocabSize, vocabOffset: 0, sharded: false };
  const result = tf.engine().runKernel('MerakEmbeddingGrad', { dy, ids }, attrs);
  return Array.isArray(result) ? (result[0] as tf.Tensor) : (result as tf.Tensor);
}
