/**
 * The CUDA engine trains as the CPU engine does. It runs on stand-ins for NVIDIA's libraries (test/standin), where kernels are compiled
 * for the processor: what is shown is the engine's own way, from NVRTC to graphs, and no card's.
 */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import * as merak from '../../src/index.js';
import { maxDifference, maxRelativeDifference, type TrainedRun, trainGpt } from '../layouts/training.js';
import { useStandIns } from './card.js';

useStandIns();
// The first run of all compiles the kernels with g++.
vi.setConfig({ testTimeout: 300_000 });

const SMALL = { numLayers: 2, numHeads: 2, hiddenSize: 32 } as const;
/** Two steps before the graph is captured, its capture, and it launched again. */
const NUM_STEPS = 5;

const LAYOUTS = {
  'one rank': { microBatches: 2 },
  dp2: { dp: 2 },
  tp2: { tp: 2 },
  pp2: { pp: 2, microBatches: 2, schedule: '1f1b' },
} as const;

describe('a tied GPT with dropout on the stand-in card', () => {
  let serial: TrainedRun;
  beforeAll(async () => {
    serial = await trainGpt({ device: 'native' }, SMALL, NUM_STEPS);
  });

  it.each(Object.entries(LAYOUTS))('%s, all on one card', async (_, layout) => {
    const run = await trainGpt({ ...layout, device: 'cuda', threadsPerWorker: 1 }, SMALL, NUM_STEPS);
    expect(run.losses).toHaveLength(NUM_STEPS);
    expect(maxRelativeDifference(run.losses, serial.losses)).toBeLessThan(1e-5);
    for (const [name, values] of serial.parameters) {
      expect(maxDifference(run.parameters.get(name)!, values), `parameter ${name}`).toBeLessThan(1e-4);
    }
  });
});

describe('a tf.layers model on the stand-in card', () => {
  async function train(device: 'native' | 'cuda') {
    const model = tf.sequential({
      layers: [
        tf.layers.dense({
          units: 9,
          inputShape: [7],
          activation: 'tanh',
          kernelInitializer: tf.initializers.glorotNormal({ seed: 3 }),
        }),
        tf.layers.dense({
          units: 3,
          activation: 'softmax',
          kernelInitializer: tf.initializers.glorotNormal({ seed: 4 }),
        }),
      ],
    });
    model.compile({ optimizer: tf.train.momentum(0.1, 0.9), loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
    const x = tf.randomNormal([40, 7], 0, 1, 'float32', 5);
    const y = tf.oneHot(
      tf.tensor1d(
        Array.from({ length: 40 }, (_, i) => i % 3),
        'int32',
      ),
      3,
    );
    const parallel = await merak.wrap(model, { device, seed: 2, logDir: 'runs/test' });
    try {
      const { history } = await parallel.fit(x, y, { batchSize: 8, epochs: 2, shuffle: false, verbose: 0 });
      const predicted = (await parallel.predict(x)) as tf.Tensor;
      return { losses: history.loss as number[], predicted: (await predicted.data()) as Float32Array };
    } finally {
      await parallel.close();
    }
  }

  it('trains and predicts as on the processor', async () => {
    const [host, card] = [await train('native'), await train('cuda')];
    expect(maxRelativeDifference(card.losses, host.losses)).toBeLessThan(1e-5);
    expect(maxDifference(card.predicted, host.predicted)).toBeLessThan(1e-5);
  });
});
