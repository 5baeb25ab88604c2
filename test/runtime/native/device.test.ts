/** What only the native engine promises: arenas read and written, calls in order, refusals by name. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import type { Device } from '../../../src/runtime/device.js';
import { batch, MICRO, native, openDevices, plansOf, stepOf, V, W } from '../fixtures/mlp.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 } as const;

it('reads back what was written, moments included, and reports its memory', async () => {
  const [device] = await openDevices(native, plansOf({ numMicroBatches: 1, optimizer }));
  expect(await device?.read(0, 'value')).toEqual(W);
  await device?.write(
    0,
    1,
    W.map((value) => value * 2),
  );
  expect(await device?.read(0, 1)).toEqual(W.map((value) => value * 2));
  expect(await device?.read(0, 0)).toEqual(new Float32Array(12));
  await expect(device?.write(0, 'value', V)).rejects.toMatchObject({ code: 'plan/invalid' });
  await expect(device?.read(0, 2)).rejects.toMatchObject({ code: 'plan/invalid' });
  expect(device?.measuredBytes()).toMatchObject({ persistent: 4096 });
  device?.close();
  await expect(device?.read(0, 'value')).rejects.toMatchObject({ code: 'engine/not-loaded' });
});

it('continues from restored moments and updates as if it had not stopped', async () => {
  const plans = plansOf({ numMicroBatches: 1, optimizer });
  const [first, second] = [(await openDevices(native, plans))[0], (await openDevices(native, plans))[0]];
  const run = (device: Device | undefined, step: number) =>
    device?.run('train', stepOf({ step, inputs: batch(step, MICRO) }));
  for (const step of [0, 1]) await run(first, step);
  for (const index of [0, 1])
    for (const kind of ['value', 0, 1] as const)
      await second?.write(index, kind, (await first?.read(index, kind)) ?? W);
  second?.setUpdates(2);
  expect((await run(second, 2))?.metrics).toEqual((await run(first, 2))?.metrics);
  expect(await second?.read(0, 'value')).toEqual(await first?.read(0, 'value'));
});

it('leaves the event loop free and runs calls in order', async () => {
  const [device] = await openDevices(native, plansOf({ numMicroBatches: 1 }));
  const steps = Array.from({ length: 20 }, (_, step) =>
    device?.run('train', stepOf({ step, inputs: batch(0, MICRO) })),
  );
  const losses = (await Promise.all(steps)).map((result) => result?.metrics.loss ?? Number.NaN);
  expect(losses).toEqual([...losses].sort((a, b) => b - a));
});

it('refuses an executable it does not have and a node it cannot compile', async () => {
  const [plan] = plansOf({ numMicroBatches: 1 });
  const [device] = await openDevices(native, plan === undefined ? [] : [plan]);
  await expect(device?.run('predict', stepOf({}))).rejects.toMatchObject({ code: 'engine/not-loaded' });
  const executable = plan?.executables[0];
  if (executable === undefined) throw new Error('the plan has no executable');
  const strange = executable.programs.map((program) => ({
    ...program,
    nodes: program.nodes.map((node) => ({ ...node, kernel: `Strange${node.kernel}`, scope: 'block0' })),
  }));
  await expect(device?.load({ ...executable, name: 'strange', programs: strange })).rejects.toMatchObject({
    code: 'engine/unsupported',
    message: expect.stringMatching(/no kernel Strange.* in block0/),
  });
});
