/** Trains, and before or after that does what the argument says. */
import * as tf from '@tensorflow/tfjs';
import * as merak from '../../../src/index.js';

const [behaviour] = process.argv.slice(2);
const model = tf.sequential({
  layers: [tf.layers.dense({ units: 4, inputShape: [3], activation: 'relu' }), tf.layers.dense({ units: 1 })],
});
model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
const parallel = await merak.wrap(model);
await parallel.fit(tf.ones([16, 3]), tf.ones([16, 1]), { batchSize: 8, verbose: 0 });
if (behaviour === 'throw') throw new RangeError('the script of the user failed');
await parallel.close();
console.log('trained');
