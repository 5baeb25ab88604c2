/** What only the tfjs runtime has: a choice of backends, and tensors to lose. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { batch, expectClose, MICRO, onTfjs, stepOf, train } from '../fixtures/mlp.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

it('runs on the wasm backend', async () => {
  const cpu = await train(onTfjs('cpu'), { numMicroBatches: 2 });
  const wasm = await train(onTfjs('wasm'), { numMicroBatches: 2 });
  await tf.setBackend('cpu');
  expectClose(wasm.losses, cpu.losses, 1e-5);
});

it('leaks no tensors from step to step', async () => {
  const { devices } = await train(onTfjs('cpu'), { numMicroBatches: 2, steps: 1 });
  const [device] = devices;
  const run = (step: number) => device?.run('train', stepOf({ step, inputs: batch(1, 2 * MICRO) }));
  await run(1);
  const before = tf.memory().numTensors;
  await run(2);
  expect(tf.memory().numTensors).toBe(before);
  expect(device?.measuredBytes()).toMatchObject({ persistent: 2 * (12 + 8) * 4 });
  device?.close();
  expect(tf.memory().numTensors).toBeLessThan(before);
});
