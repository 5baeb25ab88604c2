/** A model that reads a value while it is traced. */
import * as tf from '@tensorflow/tfjs';
import * as merak from '../../../src/index.js';

const weight = tf.variable(tf.scalar(2), true, 'weight');
const parallel = await merak.wrap(
  ({ x }) => {
    const loss = tf.mean(tf.mul(x!, weight));
    if (loss.dataSync()[0]! > 0) return loss;
    return tf.neg(loss);
  },
  { optimizer: tf.train.sgd(1e-3) },
);
await parallel.fit({ x: tf.ones([8]) }, { batchSize: 8, verbose: 0 });
