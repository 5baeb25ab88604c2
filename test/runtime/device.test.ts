/** Either kind of device on small plans: against tfjs's own training, every layout against every other, and what it refuses. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { OptimizerPlan } from '../../src/plan/plan.js';
import { spread } from '../autodiff/finiteDifferences.js';
import {
  batch,
  type DeviceFactory,
  expectClose,
  type Loss,
  MICRO,
  mlp,
  native,
  onTfjs,
  openDevices,
  plansOf,
  reference,
  stepOf,
  train,
  W,
} from './fixtures/mlp.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const ADAM = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 } as const;

const optimizers: [string, OptimizerPlan, () => tf.Optimizer][] = [
  ['sgd', { kind: 'sgd' }, () => tf.train.sgd(0.05)],
  ['momentum', { kind: 'momentum', momentum: 0.9, nesterov: false }, () => tf.train.momentum(0.05, 0.9)],
  ['nesterov', { kind: 'momentum', momentum: 0.9, nesterov: true }, () => tf.train.momentum(0.05, 0.9, true)],
  [
    'rmsprop',
    { kind: 'rmsprop', decay: 0.9, momentum: 0.5, epsilon: 1e-7, centered: false },
    () => tf.train.rmsprop(0.05, 0.9, 0.5, 1e-7),
  ],
  [
    'rmsprop centered',
    { kind: 'rmsprop', decay: 0.9, momentum: 0.5, epsilon: 1e-12, centered: true },
    () => tf.train.rmsprop(0.05, 0.9, 0.5, 1e-12, true),
  ],
  ['adam', ADAM, () => tf.train.adam(0.05, 0.9, 0.999, 1e-8)],
];

interface Subject {
  readonly name: string;
  readonly factory: DeviceFactory;
  /** How it tells where a loss became NaN, who is absent, and what is wrong with a batch. */
  readonly nan: object;
  readonly absent: RegExp;
  readonly batch: object;
}

const SUBJECTS: readonly Subject[] = [
  {
    name: 'NativeDevice',
    factory: native,
    nan: { message: expect.stringMatching(/NaN at step 7 on rank 0 \(micro-batch 0\).*came out of Log /) },
    absent: /rank 0 waits for rank 1 in all-reduce of group dp \[0,1\], sequence number 1/,
    batch: { message: expect.stringContaining("field 'x' has 24 bytes") },
  },
  {
    name: 'TfjsDevice',
    factory: onTfjs('cpu'),
    nan: { path: expect.stringMatching(/step 7, rank 0, micro-batch 0, Log /) },
    absent: /rank 1 is absent from all-reduce .*#1 of group \d+ \(dp\)/,
    batch: {},
  },
];

describe.each(SUBJECTS)('$name', ({ factory, ...says }) => {
  for (const [name, optimizer, theirs] of optimizers) {
    it(`trains as tfjs does with ${name}`, async () => {
      const mine = await train(factory, { numMicroBatches: 1, optimizer, steps: 4 });
      const expected = reference(theirs(), 4, MICRO);
      expectClose(mine.losses, expected.losses, 1e-6);
      expectClose(mine.parameters.w ?? [], expected.parameters.w ?? [], 2e-6);
      expectClose(mine.parameters.v ?? [], expected.parameters.v ?? [], 2e-6);
    });
  }

  it('decays weights apart from the gradient', async () => {
    const plain = await train(factory, { numMicroBatches: 1, optimizer: ADAM, steps: 1 });
    const optimizer = { ...ADAM, weightDecay: 0.1 };
    const decayed = await train(factory, { numMicroBatches: 1, optimizer, steps: 1 });
    expectClose(
      decayed.parameters.w ?? [],
      (plain.parameters.w ?? new Float32Array()).map((value, i) => value - 0.05 * 0.1 * (W[i] ?? 0)),
      1e-6,
    );
  });

  it('gives the same training for any number of micro-batches, replicas and stages', async () => {
    const expected = reference(tf.train.adam(0.05, 0.9, 0.999, 1e-8), 3, MICRO * 4);
    const layouts = [
      { pp: 1, dp: 1, numMicroBatches: 4 },
      { pp: 1, dp: 2, numMicroBatches: 2 },
      { pp: 1, dp: 4, numMicroBatches: 1 },
      { pp: 2, dp: 1, numMicroBatches: 4 },
      { pp: 2, dp: 2, numMicroBatches: 2 },
    ] as const;
    for (const layout of layouts) {
      const run = await train(factory, { ...layout, optimizer: ADAM });
      expectClose(run.losses, expected.losses, 1e-6);
      expectClose(run.parameters.w ?? [], expected.parameters.w ?? [], 5e-6);
      expectClose(run.parameters.v ?? [], expected.parameters.v ?? [], 5e-6);
    }
  });

  it('clips by the global norm, counted once whatever the layout', async () => {
    const one = await train(factory, { numMicroBatches: 4, clipNorm: 0.1 });
    const many = await train(factory, { pp: 2, dp: 2, numMicroBatches: 2, clipNorm: 0.1 });
    const loose = await train(factory, { numMicroBatches: 4, clipNorm: 1e6 });
    const off = await train(factory, { numMicroBatches: 4 });
    expect(one.norms[0]).toBeGreaterThan(0.1);
    expectClose(many.norms, one.norms, 1e-6);
    expectClose(many.losses, one.losses, 1e-6);
    expectClose(loose.losses, off.losses, 1e-7);
    expect(off.norms[0]).toBeNaN();
    expect(Math.abs((one.losses[2] ?? 0) - (off.losses[2] ?? 0))).toBeGreaterThan(1e-4);
  });

  it('names step, rank and the first op when the loss is not finite', async () => {
    const logarithm: Loss = (x, w, v, y) => tf.add(tf.mean(tf.exp(tf.log(tf.matMul(x, w)))), mlp(x, w, v, y));
    const [device] = await openDevices(factory, plansOf({ numMicroBatches: 1 }, logarithm));
    const attempt = device?.run('train', stepOf({ step: 7, inputs: batch(3, MICRO) }));
    await expect(attempt).rejects.toMatchObject({ code: 'engine/nan-loss', ...says.nan });
  });

  it('names the absent rank when a peer does not come', async () => {
    const [device] = await openDevices(factory, plansOf({ dp: 2, numMicroBatches: 1 }));
    const attempt = device?.run('train', stepOf({ inputs: batch(0, MICRO), timeoutSeconds: 0.1 }));
    await expect(attempt).rejects.toMatchObject({
      code: 'comm/timeout',
      message: expect.stringMatching(says.absent),
    });
  });

  it('stops at once when aborted', async () => {
    const [, device] = await openDevices(factory, plansOf({ pp: 2, numMicroBatches: 1 }));
    const inputs = new Map([['y', spread(4, -1, 1, 3)]]);
    const attempt = device?.run('train', stepOf({ inputs, timeoutSeconds: 60 }));
    setTimeout(() => device?.abort('rank 0 died'), 20);
    await expect(attempt).rejects.toMatchObject({
      code: 'comm/aborted',
      message: expect.stringContaining('rank 0 died'),
    });
  });

  it('refuses a batch of the wrong size', async () => {
    const [device] = await openDevices(factory, plansOf({ numMicroBatches: 2 }));
    const attempt = device?.run('train', stepOf({ inputs: batch(0, MICRO) }));
    await expect(attempt).rejects.toMatchObject({ code: 'config/batch', ...says.batch });
  });
});
