/** Training under Merak against tfjs's own `fit` on its CPU backend, from the same weights on the same batches. */
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadDigits } from '../../examples/layers/digits.js';
import { tokenWindows } from '../../src/data/tokens.js';
import * as merak from '../../src/index.js';

const NUM_STEPS = 5;
const TOLERANCE = 1e-4;

beforeEach(async () => {
  await tf.setBackend('cpu');
  tf.engine().startScope();
});
afterEach(() => tf.engine().endScope());

function closeRelative(received: readonly number[], expected: readonly number[]): void {
  expect(received).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) {
    expect(Math.abs(received[i]! - value) / Math.abs(value), `step ${i}: ${received[i]} against ${value}`).toBeLessThan(
      TOLERANCE,
    );
  }
}

/** Losses of each batch by `fit` of tfjs and by `fit` under Merak, both from the weights the model has now. */
async function bothWays(build: () => tf.LayersModel, x: tf.Tensor, y: tf.Tensor, batchSize: number) {
  const plain = build();
  const wrapped = build();
  wrapped.setWeights(plain.getWeights());
  const record = (losses: number[]) => ({
    onBatchEnd: (_: number, logs?: tf.Logs) => {
      losses.push(logs!.loss as number);
    },
  });
  const expected: number[] = [];
  await plain.fit(x, y, { batchSize, epochs: 1, shuffle: false, verbose: 0, callbacks: record(expected) });
  const received: number[] = [];
  const parallel = await merak.wrap(wrapped, { device: 'native' });
  await parallel.fit(x, y, { batchSize, epochs: 1, shuffle: false, verbose: 0, callbacks: record(received) });
  await parallel.close();
  return { expected, received, plain, wrapped };
}

describe('the first five losses and the weights after them', () => {
  it('the digit classifier', async () => {
    const { trainX, trainY } = loadDigits();
    const batchSize = 16;
    const x = trainX.slice(0, batchSize * NUM_STEPS);
    const y = trainY.slice(0, batchSize * NUM_STEPS);
    const build = () => {
      const model = tf.sequential({
        layers: [
          tf.layers.conv2d({ inputShape: [28, 28, 1], filters: 6, kernelSize: 3, activation: 'relu' }),
          tf.layers.maxPooling2d({ poolSize: 2 }),
          tf.layers.flatten(),
          tf.layers.dense({ units: 10, activation: 'softmax' }),
        ],
      });
      model.compile({ optimizer: tf.train.adam(2e-3), loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
      return model;
    };
    const { expected, received, plain, wrapped } = await bothWays(build, x, y, batchSize);
    closeRelative(received, expected);
    // fit hands the trained weights back to the user's model.
    const trained = wrapped.getWeights();
    plain.getWeights().forEach((weight, i) => {
      expect(tf.max(tf.abs(tf.sub(weight, trained[i]!))).dataSync()[0]).toBeLessThan(1e-4);
    });
  });

  it('an LSTM', async () => {
    const x = tf.randomUniform([20, 7, 5], -1, 1, 'float32', 3);
    const y = tf.randomUniform([20, 1], -1, 1, 'float32', 4);
    const build = () => {
      const model = tf.sequential({
        layers: [tf.layers.lstm({ units: 9, inputShape: [7, 5] }), tf.layers.dense({ units: 1 })],
      });
      model.compile({ optimizer: tf.train.rmsprop(1e-2), loss: 'meanSquaredError' });
      return model;
    };
    const { expected, received } = await bothWays(build, x, y, 4);
    closeRelative(received, expected);
  });

  it('a GPT', async () => {
    const config = { vocabularySize: 61, contextLength: 12, numLayers: 2, numHeads: 2, hiddenSize: 16, seed: 3 };
    const text = Int32Array.from({ length: 400 }, (_, i) => (i * i + 3 * i) % 61);
    const source = tokenWindows(text, { contextLength: 12, batchSize: 4, numBatches: NUM_STEPS, seed: 2 });
    const plain = merak.models.gpt(config);
    const optimizer = tf.train.adam(1e-3);
    const expected: number[] = [];
    for (let i = 0; i < NUM_STEPS; i++) {
      const batch = await source.batch(0, i);
      const field = (name: string) => tf.tensor2d(batch!.fields.get(name) as Int32Array, [4, 12], 'int32');
      const cost = optimizer.minimize(
        () => plain.loss({ tokens: field('tokens'), targets: field('targets') }, { training: true }) as tf.Scalar,
        true,
        [...plain.variables],
      );
      expected.push(cost!.dataSync()[0]!);
    }
    const received: number[] = [];
    const parallel = await merak.wrap(merak.models.gpt(config), { optimizer: tf.train.adam(1e-3), device: 'native' });
    const callbacks = {
      onBatchEnd: (_: number, logs?: tf.Logs) => {
        received.push(logs!.loss as number);
      },
    };
    await parallel.fitDataset(source, { verbose: 0, callbacks });
    await parallel.close();
    closeRelative(received, expected);
  });
});
