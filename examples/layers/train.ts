/**
 * An ordinary tf.layers image classifier, not changed in any way, trained in parallel.
 *
 *   npx merak launch examples/layers/train.ts --dp 2
 *   npx tsx examples/layers/train.ts                    # one process
 */
import * as tf from '@tensorflow/tfjs';
import * as merak from 'merak';
import { loadDigits } from './digits.js';

const model = tf.sequential({
  layers: [
    tf.layers.conv2d({ inputShape: [28, 28, 1], filters: 16, kernelSize: 3, activation: 'relu' }),
    tf.layers.maxPooling2d({ poolSize: 2 }),
    tf.layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu' }),
    tf.layers.maxPooling2d({ poolSize: 2 }),
    tf.layers.flatten(),
    tf.layers.dropout({ rate: 0.3 }),
    tf.layers.dense({ units: 10, activation: 'softmax' }),
  ],
});
model.compile({ optimizer: tf.train.adam(2e-3), loss: 'categoricalCrossentropy', metrics: ['accuracy'] });

const { trainX, trainY, testX, testY } = loadDigits();
const parallel = await merak.wrap(model); // the one line that is not tfjs
await parallel.fit(trainX, trainY, { batchSize: 64, epochs: 3, validationSplit: 0.1 });

const [loss, accuracy] = ((await parallel.evaluate(testX, testY, { batchSize: 64 })) as tf.Scalar[]).map(
  (scalar) => scalar.dataSync()[0]!,
);
console.log(`test loss ${loss!.toFixed(4)}, test accuracy ${(100 * accuracy!).toFixed(2)} %`);
await parallel.save('file://runs/digits');
await parallel.close();
if (accuracy! < 0.95) throw new Error('the classifier did not reach 95 % on the test digits');
