/** An option of wrap that does not exist. */
import * as tf from '@tensorflow/tfjs';
import * as merak from '../../../src/index.js';

const weight = tf.variable(tf.scalar(2));
const options = { optimizer: tf.train.sgd(1e-3), clipNorms: 1 };
await merak.wrap(({ x }) => tf.mean(tf.mul(x!, weight)), options);
