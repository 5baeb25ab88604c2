/** A loss that becomes NaN in a named layer after a few steps. */
import * as tf from '@tensorflow/tfjs';
import * as merak from '../../../src/index.js';

const weight = tf.variable(tf.scalar(2), true, 'weight');
const parallel = await merak.wrap(({ x }) => tf.mean(tf.log(tf.mul(x!, weight))), { optimizer: tf.train.sgd(1e-3) });
const x = tf.tensor1d([...Array<number>(24).fill(1), ...Array<number>(8).fill(-1)]);
await parallel.fit({ x }, { batchSize: 8, shuffle: false, verbose: 0 });
