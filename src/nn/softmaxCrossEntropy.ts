/** nn.softmaxCrossEntropy. */
import * as tf from '@tensorflow/tfjs';
import { checkDtype, checkShapes, invalid } from './arguments.js';
import { callKernelMany } from './call.js';

/**
 * -log softmax(logits)[label] for every row: logits [..., V], labels [...] int32, result [...] float32. A negative label
 * is ignored: loss 0 and no gradient. Take the mean yourself.
 *
 * @example
 * const logits = tf.tensor2d([[2, 0, 0], [0, 2, 0]]);
 * const loss = merak.nn.softmaxCrossEntropy(logits, tf.tensor1d([0, 2], 'int32')).mean();
 */
export function softmaxCrossEntropy(logits: tf.Tensor, labels: tf.Tensor): tf.Tensor {
  if (logits.rank < 1) throw invalid('softmaxCrossEntropy', 'logits', 'rank 1 or more', 'a scalar');
  const leading = logits.shape.slice(0, -1);
  const numClasses = logits.shape[logits.rank - 1]!;
  checkShapes('softmaxCrossEntropy', [['labels', labels, leading]]);
  checkDtype('softmaxCrossEntropy', 'labels', labels, 'int32');
  const [loss] = callKernelMany(
    'MerakSoftmaxCrossEntropy',
    { logits: tf.reshape(logits, [-1, numClasses]), labels: tf.reshape(labels, [-1]) },
    { vocabOffset: 0, vocabLimit: numClasses },
  );
  return leading.length === 1 ? loss! : tf.reshape(loss!, leading);
}
