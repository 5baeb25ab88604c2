/** Training that goes from one schedule to another by checkpoints, with evaluation, prediction and an odd last batch. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { WrapOptions } from '../../src/index.js';
import * as merak from '../../src/index.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-chunked-'));
});
afterAll(() => rm(folder, { recursive: true }));

const NUM_SAMPLES = 14;
/** Two batches of an epoch are whole, the third is of two samples. */
const BATCH_SIZE = 6;

function build(): tf.Sequential {
  const layers = Array.from({ length: 5 }, (_, i) =>
    tf.layers.dense({ units: 6, activation: 'tanh', ...(i === 0 ? { inputShape: [4] } : {}) }),
  );
  const model = tf.sequential({ layers: [...layers, tf.layers.dense({ units: 2 })] });
  model.setWeights(
    model.getWeights().map(({ shape, size }, i) =>
      tf.tensor(
        Float32Array.from({ length: size }, (_, k) => 0.5 * Math.cos(k * 1.3 + i)),
        shape,
      ),
    ),
  );
  model.compile({ optimizer: tf.train.adam(1e-2), loss: 'meanSquaredError' });
  return model;
}

const tensors = () => {
  const wave = (width: number, factor: number) =>
    tf.tensor2d(
      Float32Array.from({ length: NUM_SAMPLES * width }, (_, i) => Math.sin(i * factor)),
      [NUM_SAMPLES, width],
    );
  return { x: wave(4, 0.7), y: wave(2, 0.3) };
};

/** An epoch; what it leaves. */
async function epoch(options: WrapOptions, from: string | undefined, into: string) {
  const parallel = await merak.wrap(build(), { seed: 4, logDir: 'runs/test', threadsPerWorker: 1, ...options });
  const { x, y } = tensors();
  const losses: number[] = [];
  try {
    if (from !== undefined) await parallel.restore(from);
    await parallel.fit(x, y, {
      batchSize: BATCH_SIZE,
      epochs: from === undefined ? 1 : 1 + Number(from.at(-1)),
      verbose: 0,
      callbacks: { onBatchEnd: (_, logs) => void losses.push(logs!.loss!) },
    });
    await parallel.checkpoint(into);
    const evaluated = (await parallel.evaluate(x, y, { batchSize: BATCH_SIZE })) as tf.Scalar;
    const predicted = (await parallel.predict(x, { batchSize: BATCH_SIZE })) as tf.Tensor;
    return { losses, evaluated: evaluated.dataSync()[0]!, predicted: [...predicted.dataSync()] };
  } finally {
    await parallel.close();
  }
}

const LEGS: readonly WrapOptions[] = [
  { pp: 2, microBatches: 3, schedule: 'zb-v' },
  { pp: 2, microBatches: 3, schedule: 'interleaved', recompute: 'full' },
  { pp: 3, microBatches: 2, schedule: '1f1b' },
  { pp: 2, microBatches: 2, schedule: 'zb-v', device: 'tfjs' },
  { pp: 2, dp: 2, microBatches: 3, schedule: 'interleaved', shardOptimizer: true },
];

async function run(name: string, legs: readonly WrapOptions[]) {
  const outcomes: Awaited<ReturnType<typeof epoch>>[] = [];
  const at = (leg: number) => join(folder, `${name}-${leg}`);
  for (const [leg, options] of legs.entries()) {
    outcomes.push(await epoch(options, leg === 0 ? undefined : at(leg), at(leg + 1)));
  }
  return outcomes;
}

it('goes on from any schedule in any other', async () => {
  const serial = await run(
    'serial',
    LEGS.map(() => ({})),
  );
  const parallel = await run('parallel', LEGS);
  serial.forEach((expected, leg) => {
    const { losses, evaluated, predicted } = parallel[leg]!;
    expect(expected.losses).toHaveLength(3);
    expect(losses).toHaveLength(3);
    losses.forEach((loss, i) => {
      expect(Math.abs(loss / expected.losses[i]! - 1), `epoch ${leg}, batch ${i}`).toBeLessThan(1e-5);
    });
    expect(Math.abs(evaluated / expected.evaluated - 1)).toBeLessThan(1e-5);
    expect(predicted).toHaveLength(2 * NUM_SAMPLES);
    predicted.forEach((value, i) => {
      expect(Math.abs(value - expected.predicted[i]!)).toBeLessThan(1e-5);
    });
  });
});
