/** MerakSoftmaxCrossEntropy: -log softmax(logits)[label] per row, on integer labels. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { numberAttr } from './attributes.js';
import { input, type KernelDefinition, noGradient } from './definition.js';

/** Below any logit: the value of a padding column, finite so that no backend subtracts infinities. */
const PADDING = -1e30;

/** Logits with the columns from `limit` on at PADDING. */
function validLogits(logits: tf.Tensor, limit: number): tf.Tensor {
  const [rows = 0, columns = 0] = logits.shape;
  if (limit >= columns) return logits;
  if (limit <= 0) return tf.fill(logits.shape, PADDING);
  const valid = tf.slice(logits, [0, 0], [rows, limit]);
  return tf.pad(
    valid,
    [
      [0, 0],
      [0, columns - limit],
    ],
    PADDING,
  );
}

/**
 * The label's logit where it is one of the `limit` valid columns from `offset` on, else 0, and 1 / 0 for "is local". Shape [N].
 */
export function targetLogits(logits: tf.Tensor, labels: tf.Tensor, offset: number, limit: number): tf.Tensor {
  const [rows = 0, columns = 0] = logits.shape;
  const local = tf.sub(labels, tf.scalar(offset, 'int32'));
  const inside = tf.logicalAnd(
    tf.greaterEqual(local, tf.scalar(0, 'int32')),
    tf.less(local, tf.scalar(limit, 'int32')),
  );
  const column = tf.mul(local, tf.cast(inside, 'int32'));
  const position = tf.add(tf.mul(tf.range(0, rows, 1, 'int32'), tf.scalar(columns, 'int32')), column);
  const picked = tf.gather(tf.reshape(logits, [-1]), tf.cast(position, 'int32'));
  return tf.where(inside, picked, tf.zerosLike(picked));
}

function checkLabels(labels: tf.Tensor, offset: number, limit: number): void {
  const worst = labels.dataSync().find((label) => label >= offset + limit || (label >= 0 && label < offset));
  if (worst === undefined) return;
  throw new MerakError('engine/kernel', 'a label of the softmax cross-entropy is out of range', {
    expected: `an integer in [${offset}, ${offset + limit}), or a negative one to ignore the row`,
    received: String(worst),
  });
}

export const softmaxCrossEntropy: KernelDefinition = {
  kernel: 'MerakSoftmaxCrossEntropy',
  inputs: ['logits', 'labels'],
  reference(inputs, attrs) {
    const logits = input(inputs, 'logits');
    const labels = input(inputs, 'labels');
    const offset = numberAttr(attrs, 'vocabOffset', 0);
    const limit = numberAttr(attrs, 'vocabLimit', logits.shape[1]);
    checkLabels(labels, offset, limit);
    const logsumexp = tf.logSumExp(validLogits(logits, limit), -1);
    const loss = tf.sub(logsumexp, targetLogits(logits, labels, offset, limit));
    const counts = tf.greaterEqual(labels, tf.scalar(0, 'int32'));
    return [tf.where(counts, loss, tf.zerosLike(loss)), logsumexp];
  },
  gradient: {
    inputsToSave: ['logits', 'labels'],
    outputsToSave: [false, true],
    // The log-sum-exp is an auxiliary output: its own gradient is taken to be zero.
    gradFunc(dys, saved, attrs) {
      const dy = Array.isArray(dys) ? dys[0]! : dys;
      const [logits, labels, logsumexp] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
      const inputs = { dy, logits, labels, logsumexp };
      return {
        logits: () => tf.engine().runKernel<tf.Tensor>('MerakSoftmaxCrossEntropyGrad', inputs, attrs),
        labels: noGradient(labels),
      };
    },
  },
};

export const softmaxCrossEntropyGrad: KernelDefinition = {
  kernel: 'MerakSoftmaxCrossEntropyGrad',
  inputs: ['dy', 'logits', 'labels', 'logsumexp'],
  reference(inputs, attrs) {
    const logits = input(inputs, 'logits');
    const labels = input(inputs, 'labels');
    const [, columns = 0] = logits.shape;
    const limit = numberAttr(attrs, 'vocabLimit', columns);
    const local = tf.sub(labels, tf.scalar(numberAttr(attrs, 'vocabOffset', 0), 'int32'));
    const shifted = tf.sub(validLogits(logits, limit), tf.expandDims(input(inputs, 'logsumexp'), 1));
    const index = tf.reshape(tf.range(0, columns, 1, 'int32'), [1, -1]);
    const isLabel = tf.cast(tf.equal(index, tf.expandDims(local, 1)), 'float32');
    const isValid = tf.cast(tf.less(index, tf.scalar(limit, 'int32')), 'float32');
    const counts = tf.cast(tf.greaterEqual(labels, tf.scalar(0, 'int32')), 'float32');
    const rowScale = tf.expandDims(tf.mul(input(inputs, 'dy'), counts), 1);
    return tf.mul(tf.mul(tf.sub(tf.exp(shifted), isLabel), isValid), rowScale);
  },
};

/** The two sums a vocabulary-sharded cross-entropy all-reduces: see docs/kernels.md. */
export const shardedCrossEntropy: KernelDefinition = {
  kernel: 'MerakShardedCrossEntropy',
  inputs: ['logits', 'labels', 'max'],
  reference(inputs, attrs) {
    const logits = input(inputs, 'logits');
    const limit = numberAttr(attrs, 'vocabLimit', logits.shape[1]);
    const shifted = tf.sub(validLogits(logits, limit), tf.expandDims(input(inputs, 'max'), 1));
    const target = targetLogits(logits, input(inputs, 'labels'), numberAttr(attrs, 'vocabOffset', 0), limit);
    return [tf.sum(tf.exp(shifted), -1), target];
  },
};
