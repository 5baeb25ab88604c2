/** A network of convolutions trains on the stand-in card, through cuDNN and CUDA graphs, as on the processor. */
import * as tf from '@tensorflow/tfjs';
import { expect, it, vi } from 'vitest';
import * as merak from '../../src/index.js';
import { maxRelativeDifference } from '../layouts/training.js';
import { useStandIns } from './card.js';

useStandIns();
// The first run of all compiles the kernels with g++.
vi.setConfig({ testTimeout: 300_000 });

async function train(device: 'native' | 'cuda', precision: 'f32' | 'bf16'): Promise<number[]> {
  const conv = (filters: number, strides: number, seed: number, more = {}) =>
    tf.layers.conv2d({
      filters,
      strides,
      kernelSize: 3,
      padding: 'same',
      activation: 'relu',
      kernelInitializer: tf.initializers.glorotNormal({ seed }),
      ...more,
    });
  const model = tf.sequential({
    layers: [
      conv(8, 2, 3, { inputShape: [12, 12, 3] }),
      conv(16, 1, 4),
      tf.layers.globalAveragePooling2d({}),
      tf.layers.dense({
        units: 3,
        activation: 'softmax',
        kernelInitializer: tf.initializers.glorotNormal({ seed: 5 }),
      }),
    ],
  });
  model.compile({ optimizer: tf.train.sgd(0.2), loss: 'categoricalCrossentropy' });
  const x = tf.randomNormal([40, 12, 12, 3], 0, 1, 'float32', 5);
  const y = tf.oneHot(
    tf.tensor1d(
      [...Array(40).keys()].map((i) => i % 3),
      'int32',
    ),
    3,
  );
  const parallel = await merak.wrap(model, { device, precision, seed: 2, logDir: 'runs/test' });
  try {
    const { history } = await parallel.fit(x, y, { batchSize: 8, epochs: 2, shuffle: false, verbose: 0 });
    return history.loss as number[];
  } finally {
    await parallel.close();
  }
}

it('in float32 and, rounded for the tensor cores, in bfloat16', async () => {
  const exact = await train('native', 'f32');
  expect(maxRelativeDifference(await train('cuda', 'f32'), exact)).toBeLessThan(1e-5);
  const rounded = maxRelativeDifference(await train('cuda', 'bf16'), exact);
  expect(rounded).toBeLessThan(1e-2);
  expect(rounded).toBeGreaterThan(1e-6);
  // The processor has no units for it: its convolutions stay float32.
  expect(maxRelativeDifference(await train('native', 'bf16'), exact)).toBeLessThan(1e-6);
});
