/** The native engine on small hand-made plans: against tfjs's own training, and every layout against every other. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { OptimizerPlan, RankPlan } from '../../../src/plan/plan.js';
import { buildPlan, type PlanInput } from '../../../src/planner/buildPlan.js';
import type { ArenaHandle, StepResult } from '../../../src/runtime/device.js';
import { NativeDevice } from '../../../src/runtime/native/device.js';
import type { Batch } from '../../../src/trace/model.js';
import { traceModel } from '../../../src/trace/trace.js';
import { spread } from '../../autodiff/finiteDifferences.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const MICRO = 2;
const W = spread(12, -0.8, 0.8, 1);
const V = spread(8, -0.8, 0.8, 2);

type Loss = (x: tf.Tensor2D, w: tf.Tensor2D, v: tf.Tensor2D, y: tf.Tensor) => tf.Tensor;

const mlp: Loss = (x, w, v, y) => tf.mean(tf.square(tf.sub(tf.matMul(tf.tanh(tf.matMul(x, w)) as tf.Tensor2D, v), y)));

const FIELDS = [
  { name: 'x', shape: [3], dtype: 'float32' },
  { name: 'y', shape: [2], dtype: 'float32' },
] as const;

/** Rank plans of a loss over w [3,4] and v [4,2]. */
function plansOf(options: PlanOptions, loss: Loss = mlp): readonly RankPlan[] {
  const w = tf.variable(tf.tensor2d(W, [3, 4]), true, `w${count}`);
  const v = tf.variable(tf.tensor2d(V, [4, 2]), true, `v${count++}`);
  const model = ({ x, y }: Batch) => loss(x as tf.Tensor2D, w, v, y as tf.Tensor);
  const { graph } = traceModel(model, 'train', FIELDS, MICRO);
  const { pp = 1, dp = 1, optimizer = { kind: 'sgd' }, ...rest } = options;
  return buildPlan({ train: graph, mesh: { pp, dp, tp: 1 }, optimizer, ...rest }).ranks;
}

function batch(step: number, numSamples: number): { x: Float32Array; y: Float32Array } {
  return { x: spread(numSamples * 3, -1, 1, 40 + step), y: spread(numSamples * 2, -1, 1, 50 + step) };
}

interface PlanOptions extends Pick<PlanInput, 'clipNorm'> {
  readonly pp?: number;
  readonly dp?: number;
  readonly numMicroBatches: number;
  readonly optimizer?: OptimizerPlan;
}

let count = 0;

interface Run {
  readonly losses: number[];
  readonly norms: number[];
  readonly parameters: Readonly<Record<string, Float32Array>>;
  readonly devices: readonly NativeDevice[];
}

async function openDevices(plans: readonly RankPlan[]): Promise<NativeDevice[]> {
  const devices = plans.map(() => new NativeDevice());
  const handles: ArenaHandle[] = [];
  for (const [rank, plan] of plans.entries()) {
    const device = devices[rank] as NativeDevice;
    handles.push(...(await device.open(plan)));
    for (const executable of plan.executables) handles.push(...(await device.load(executable)));
    for (const [index, { name }] of plan.parameters.entries())
      await device.write(index, 'value', name.startsWith('w') ? W : V);
  }
  for (const device of devices) await device.connect(handles);
  return devices;
}

async function train(options: PlanOptions & { readonly steps?: number }): Promise<Run> {
  const { steps: numSteps = 3, ...planOptions } = options;
  const plans = plansOf(planOptions);
  const dp = options.dp ?? 1;
  const devices = await openDevices(plans);
  const [losses, norms]: [number[], number[]] = [[], []];
  for (let step = 0; step < numSteps; step++) {
    const perRank = MICRO * options.numMicroBatches;
    const { x, y } = batch(step, perRank * dp);
    const results = await Promise.all(
      devices.map((device, rank): Promise<StepResult> => {
        const replica = rank % dp;
        const inputs = new Map([
          ['x', x.subarray(replica * perRank * 3, (replica + 1) * perRank * 3)],
          ['y', y.subarray(replica * perRank * 2, (replica + 1) * perRank * 2)],
        ]);
        return device.run('train', { step, seed: 1, learningRate: 0.05, inputs, timeoutSeconds: 5 });
      }),
    );
    losses.push(results.at(-1)?.metrics.loss ?? Number.NaN);
    norms.push(results[0]?.gradientNorm ?? Number.NaN);
  }
  const parameters: Record<string, Float32Array> = {};
  for (const [rank, plan] of plans.entries()) {
    for (const [index, { name }] of plan.parameters.entries())
      parameters[name[0] ?? ''] = Float32Array.from((await devices[rank]?.read(index, 'value')) ?? []);
  }
  return { losses, norms, parameters, devices };
}

/** The same training by tfjs's own optimizers. */
function reference(optimizer: tf.Optimizer, steps: number, numSamples: number): Omit<Run, 'devices' | 'norms'> {
  const [w, v] = [tf.variable(tf.tensor2d(W, [3, 4])), tf.variable(tf.tensor2d(V, [4, 2]))];
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const data = batch(step, numSamples);
    const loss = optimizer.minimize(
      () => mlp(tf.tensor2d(data.x, [numSamples, 3]), w, v, tf.tensor(data.y, [numSamples, 2])) as tf.Scalar,
      true,
    );
    losses.push(loss?.dataSync()[0] ?? Number.NaN);
  }
  return { losses, parameters: { w: w.dataSync() as Float32Array, v: v.dataSync() as Float32Array } };
}

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++)
    expect(Math.abs((actual[i] ?? Number.NaN) - (expected[i] ?? 0))).toBeLessThan(tolerance);
}

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
  [
    'adam',
    { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
    () => tf.train.adam(0.05, 0.9, 0.999, 1e-8),
  ],
];

describe('NativeDevice', () => {
  for (const [name, optimizer, theirs] of optimizers) {
    it(`trains as tfjs does with ${name}`, async () => {
      const mine = await train({ pp: 1, dp: 1, numMicroBatches: 1, optimizer, steps: 4 });
      const expected = reference(theirs(), 4, MICRO);
      expectClose(mine.losses, expected.losses, 1e-6);
      expectClose(mine.parameters.w ?? [], expected.parameters.w ?? [], 2e-6);
      expectClose(mine.parameters.v ?? [], expected.parameters.v ?? [], 2e-6);
    });
  }

  it('decays weights apart from the gradient', async () => {
    const adam = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 } as const;
    const plain = await train({ pp: 1, dp: 1, numMicroBatches: 1, optimizer: adam, steps: 1 });
    const decayed = await train({
      pp: 1,
      dp: 1,
      numMicroBatches: 1,
      optimizer: { ...adam, weightDecay: 0.1 },
      steps: 1,
    });
    expectClose(
      decayed.parameters.w ?? [],
      (plain.parameters.w ?? new Float32Array()).map((value, i) => value - 0.05 * 0.1 * (W[i] ?? 0)),
      1e-6,
    );
  });

  it('gives the same training for any number of micro-batches, replicas and stages', async () => {
    const expected = reference(tf.train.adam(0.05, 0.9, 0.999, 1e-8), 3, MICRO * 4);
    const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 } as const;
    const layouts = [
      { pp: 1, dp: 1, numMicroBatches: 4 },
      { pp: 1, dp: 2, numMicroBatches: 2 },
      { pp: 1, dp: 4, numMicroBatches: 1 },
      { pp: 2, dp: 1, numMicroBatches: 4 },
      { pp: 2, dp: 2, numMicroBatches: 2 },
    ] as const;
    for (const layout of layouts) {
      const run = await train({ ...layout, optimizer });
      expectClose(run.losses, expected.losses, 1e-6);
      expectClose(run.parameters.w ?? [], expected.parameters.w ?? [], 5e-6);
      expectClose(run.parameters.v ?? [], expected.parameters.v ?? [], 5e-6);
    }
  });

  it('clips by the global norm, counted once whatever the layout', async () => {
    const one = await train({ pp: 1, dp: 1, numMicroBatches: 4, clipNorm: 0.1 });
    const many = await train({ pp: 2, dp: 2, numMicroBatches: 2, clipNorm: 0.1 });
    const loose = await train({ pp: 1, dp: 1, numMicroBatches: 4, clipNorm: 1e6 });
    const off = await train({ pp: 1, dp: 1, numMicroBatches: 4 });
    expect(one.norms[0]).toBeGreaterThan(0.1);
    expectClose(many.norms, one.norms, 1e-6);
    expectClose(many.losses, one.losses, 1e-6);
    expectClose(loose.losses, off.losses, 1e-7);
    expect(off.norms[0]).toBeNaN();
    expect(Math.abs((one.losses[2] ?? 0) - (off.losses[2] ?? 0))).toBeGreaterThan(1e-4);
  });

  it('reads back what was written, moments included, and reports its memory', async () => {
    const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 } as const;
    const [device] = await openDevices(plansOf({ dp: 1, numMicroBatches: 1, optimizer }));
    expect(await device?.read(0, 'value')).toEqual(W);
    await device?.write(0, 1, V.length === 8 ? W.map((value) => value * 2) : W);
    expect(await device?.read(0, 1)).toEqual(W.map((value) => value * 2));
    expect(await device?.read(0, 0)).toEqual(new Float32Array(12));
    await expect(device?.write(0, 'value', V)).rejects.toMatchObject({ code: 'plan/invalid' });
    await expect(device?.read(0, 2)).rejects.toMatchObject({ code: 'plan/invalid' });
    expect(device?.measuredBytes()).toMatchObject({ persistent: 4096 });
    device?.close();
    await expect(device?.read(0, 'value')).rejects.toMatchObject({ code: 'engine/not-loaded' });
  });

  it('continues from restored moments and updates as if it had not stopped', async () => {
    const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 } as const;
    const plans = plansOf({ dp: 1, numMicroBatches: 1, optimizer });
    const [first, second] = [(await openDevices(plans))[0], (await openDevices(plans))[0]];
    const run = (device: NativeDevice | undefined, step: number) =>
      device?.run('train', {
        step,
        seed: 1,
        learningRate: 0.05,
        inputs: new Map(Object.entries(batch(step, MICRO))),
        timeoutSeconds: 5,
      });
    for (const step of [0, 1]) await run(first, step);
    for (const index of [0, 1])
      for (const kind of ['value', 0, 1] as const)
        await second?.write(index, kind, (await first?.read(index, kind)) ?? W);
    second?.setUpdates(2);
    expect((await run(second, 2))?.metrics).toEqual((await run(first, 2))?.metrics);
    expect(await second?.read(0, 'value')).toEqual(await first?.read(0, 'value'));
  });

  it('leaves the event loop free and runs calls in order', async () => {
    const [device] = await openDevices(plansOf({ dp: 1, numMicroBatches: 1 }));
    const inputs = new Map(Object.entries(batch(0, MICRO)));
    const steps = Array.from({ length: 20 }, (_, step) =>
      device?.run('train', { step, seed: 1, learningRate: 0.05, inputs, timeoutSeconds: 5 }),
    );
    const losses = (await Promise.all(steps)).map((result) => result?.metrics.loss ?? Number.NaN);
    expect(losses).toEqual([...losses].sort((a, b) => b - a));
  });

  it('refuses an executable it does not have and a node it cannot compile', async () => {
    const [plan] = plansOf({ dp: 1, numMicroBatches: 1 });
    const [device] = await openDevices(plan === undefined ? [] : [plan]);
    const input = { step: 0, seed: 1, learningRate: 0.1, inputs: new Map(), timeoutSeconds: 5 };
    await expect(device?.run('predict', input)).rejects.toMatchObject({ code: 'engine/not-loaded' });
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

  it('names step, rank and the first op when the loss is not finite', async () => {
    const logarithm: Loss = (x, w, v, y) => tf.add(tf.mean(tf.exp(tf.log(tf.matMul(x, w)))), mlp(x, w, v, y));
    const [device] = await openDevices(plansOf({ numMicroBatches: 1 }, logarithm));
    const attempt = device?.run('train', {
      step: 7,
      seed: 1,
      learningRate: 0.1,
      inputs: new Map(Object.entries(batch(3, MICRO))),
      timeoutSeconds: 5,
    });
    await expect(attempt).rejects.toMatchObject({
      code: 'engine/nan-loss',
      message: expect.stringMatching(/NaN at step 7 on rank 0 \(micro-batch 0\).*came out of Log /),
    });
  });

  it('names the absent rank when a peer does not come', async () => {
    const devices = await openDevices(plansOf({ dp: 2, numMicroBatches: 1 }));
    const { x, y } = batch(0, MICRO);
    const attempt = devices[0]?.run('train', {
      step: 0,
      seed: 1,
      learningRate: 0.1,
      inputs: new Map([
        ['x', x],
        ['y', y],
      ]),
      timeoutSeconds: 0.1,
    });
    await expect(attempt).rejects.toMatchObject({
      code: 'comm/timeout',
      message: expect.stringMatching(/rank 0 waits for rank 1 in all-reduce of group dp \[0,1\], sequence number 1/),
    });
  });

  it('stops at once when aborted', async () => {
    const devices = await openDevices(plansOf({ pp: 2, numMicroBatches: 1 }));
    const inputs = new Map([['y', spread(4, -1, 1, 3)]]);
    const attempt = devices[1]?.run('train', { step: 0, seed: 1, learningRate: 0.1, inputs, timeoutSeconds: 60 });
    setTimeout(() => devices[1]?.abort('rank 0 died'), 20);
    await expect(attempt).rejects.toMatchObject({
      code: 'comm/aborted',
      message: expect.stringContaining('rank 0 died'),
    });
  });

  it('refuses a batch of the wrong size', async () => {
    const [device] = await openDevices(plansOf({ dp: 1, numMicroBatches: 2 }));
    const { x, y } = batch(0, MICRO);
    const attempt = device?.run('train', {
      step: 0,
      seed: 1,
      learningRate: 0.1,
      inputs: new Map([
        ['x', x],
        ['y', y],
      ]),
      timeoutSeconds: 5,
    });
    await expect(attempt).rejects.toMatchObject({
      code: 'config/batch',
      message: expect.stringContaining("field 'x' has 24 bytes"),
    });
  });
});
