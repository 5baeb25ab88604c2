/**
 * MerakVocabParallelCrossEntropy: softmax cross-entropy on logits whose columns lie over a mesh axis. It exists so that
 * differentiation sees one kernel; src/tensorparallel/expand.ts replaces it by kernels a device has.
 *
 * Inputs `logits` [N, Vlocal], `labels` [N] int32 (global ids, negative: ignored); attrs `axis`, `vocabOffset`,
 * `vocabLimit` (valid local columns), `padded` (some rank has columns that are padding); outputs `loss` [N],
 * `logsumexp` [N], both whole on every rank.
 */
import * as tf from '@tensorflow/tfjs';
import { numberAttr, stringAttr } from './attributes.js';
import { input, type KernelDefinition, noGradient } from './definition.js';

function allReduce(x: tf.Tensor, axis: string, op: 'sum' | 'max'): tf.Tensor {
  return tf.engine().runKernel<tf.Tensor>('MerakAllReduce', { x }, { axis, op });
}

export const vocabParallelCrossEntropy: KernelDefinition = {
  kernel: 'MerakVocabParallelCrossEntropy',
  inputs: ['logits', 'labels'],
  reference(inputs, attrs) {
    const logits = input(inputs, 'logits');
    const labels = input(inputs, 'labels');
    const axis = stringAttr(attrs, 'axis');
    const vocabLimit = numberAttr(attrs, 'vocabLimit');
    const [rows = 0] = logits.shape;
    const valid = tf.slice(logits, [0, 0], [rows, Math.max(1, vocabLimit)]);
    const max = allReduce(tf.max(valid, -1), axis, 'max');
    const shardAttrs = { vocabOffset: numberAttr(attrs, 'vocabOffset'), vocabLimit };
    const sums = tf.engine().runKernel<tf.Tensor[]>('MerakShardedCrossEntropy', { logits, labels, max }, shardAttrs);
    const [sumExp, target] = sums.map((sum) => allReduce(sum, axis, 'sum')) as [tf.Tensor, tf.Tensor];
    const logsumexp = tf.add(tf.log(sumExp), max);
    const counts = tf.greaterEqual(labels, tf.scalar(0, 'int32'));
    return [tf.where(counts, tf.sub(logsumexp, target), tf.zerosLike(logsumexp)), logsumexp];
  },
  gradient: {
    inputsToSave: ['logits', 'labels'],
    outputsToSave: [false, true],
    // The log-sum-exp is the one over all ranks, so each rank's gradient is its columns of the whole gradient.
    gradFunc(dys, saved, attrs) {
      const dy = Array.isArray(dys) ? dys[0]! : dys;
      const [logits, labels, logsumexp] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
      const shardAttrs = {
        vocabOffset: numberAttr(attrs, 'vocabOffset'),
        vocabLimit: numberAttr(attrs, 'vocabLimit'),
      };
      return {
        logits: () =>
          tf
            .engine()
            .runKernel<tf.Tensor>('MerakSoftmaxCrossEntropyGrad', { dy, logits, labels, logsumexp }, shardAttrs),
        labels: noGradient(labels),
      };
    },
  },
};
