/** The tfjs runtime on small hand-made plans: against tfjs's own training, and every layout against every other. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Graph } from '../../../src/graph/graph.js';
import type { OptimizerPlan, RankPlan } from '../../../src/plan/plan.js';
import type { StepResult } from '../../../src/runtime/device.js';
import { localCommunicators } from '../../../src/runtime/localCommunicator.js';
import { TfjsDevice } from '../../../src/runtime/tfjs/device.js';
import { record } from '../../../src/trace/record.js';
import { spread } from '../../autodiff/finiteDifferences.js';
import { type NaiveOptions, naivePlans } from './naivePlan.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const MICRO = 2;
const W = spread(12, -0.8, 0.8, 1);
const V = spread(8, -0.8, 0.8, 2);

function hiddenOf(x: tf.Tensor, w: tf.Tensor): tf.Tensor {
  return tf.tanh(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D));
}

function lossOf(hidden: tf.Tensor, v: tf.Tensor, y: tf.Tensor): tf.Tensor {
  return tf.mean(tf.square(tf.sub(tf.matMul(hidden as tf.Tensor2D, v as tf.Tensor2D), y)));
}

/** Traced at the micro-batch size, in one stage or two. */
function stages(pp: 1 | 2): Graph[] {
  if (pp === 1) {
    return [
      record((r) => {
        const [x, y] = [r.input('x', [MICRO, 3], 'float32'), r.input('y', [MICRO, 2], 'float32')];
        const [w, v] = [
          r.parameter('w', [3, 4], 'float32', { trainable: true }),
          r.parameter('v', [4, 2], 'float32', { trainable: true }),
        ];
        return { outputs: [['loss', lossOf(hiddenOf(x, w), v, y)]] };
      }),
    ];
  }
  return [
    record((r) => ({
      outputs: [
        [
          'sent/0',
          hiddenOf(r.input('x', [MICRO, 3], 'float32'), r.parameter('w', [3, 4], 'float32', { trainable: true })),
        ],
      ],
    })),
    record((r) => {
      const [y, hidden] = [r.input('y', [MICRO, 2], 'float32'), r.input('received/0', [MICRO, 4], 'float32')];
      return { outputs: [['loss', lossOf(hidden, r.parameter('v', [4, 2], 'float32', { trainable: true }), y)]] };
    }),
  ];
}

function batch(step: number, numSamples: number): { x: Float32Array; y: Float32Array } {
  return { x: spread(numSamples * 3, -1, 1, 40 + step), y: spread(numSamples * 2, -1, 1, 50 + step) };
}

interface Run {
  readonly losses: number[];
  readonly norms: number[];
  readonly parameters: Readonly<Record<string, Float32Array>>;
  readonly devices: readonly TfjsDevice[];
}

async function openDevices(plans: readonly RankPlan[], backend = 'cpu'): Promise<TfjsDevice[]> {
  const communicators = localCommunicators(plans.length);
  return Promise.all(
    plans.map(async (plan, rank) => {
      const communicator = communicators[rank];
      const device = new TfjsDevice({ backend, communicator });
      await device.open(plan);
      for (const executable of plan.executables) await device.load(executable);
      for (const [index, { name }] of plan.parameters.entries())
        await device.write(index, 'value', name === 'w' ? W : V);
      return device;
    }),
  );
}

async function train(
  options: Omit<NaiveOptions, 'stages'> & { readonly pp: 1 | 2; readonly steps?: number; readonly backend?: string },
): Promise<Run> {
  const plans = naivePlans({ ...options, stages: stages(options.pp) });
  const devices = await openDevices(plans, options.backend);
  const [losses, norms]: [number[], number[]] = [[], []];
  for (let step = 0; step < (options.steps ?? 3); step++) {
    const perRank = MICRO * options.numMicroBatches;
    const { x, y } = batch(step, perRank * options.dp);
    const results = await Promise.all(
      devices.map((device, rank): Promise<StepResult> => {
        const replica = rank % options.dp;
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
      parameters[name] = Float32Array.from((await devices[rank]?.read(index, 'value')) ?? []);
  }
  return { losses, norms, parameters, devices };
}

/** The same training by tfjs's own optimizers. */
function reference(optimizer: tf.Optimizer, steps: number, numSamples: number): Omit<Run, 'devices' | 'norms'> {
  const [w, v] = [tf.variable(tf.tensor(W, [3, 4])), tf.variable(tf.tensor(V, [4, 2]))];
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const data = batch(step, numSamples);
    const loss = optimizer.minimize(
      () => lossOf(hiddenOf(tf.tensor(data.x, [numSamples, 3]), w), v, tf.tensor(data.y, [numSamples, 2])) as tf.Scalar,
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

describe('TfjsDevice', () => {
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

  it('runs on the wasm backend', async () => {
    const [cpu, wasm] = [
      await train({ pp: 1, dp: 1, numMicroBatches: 2 }),
      await train({ pp: 1, dp: 1, numMicroBatches: 2, backend: 'wasm' }),
    ];
    await tf.setBackend('cpu');
    expectClose(wasm.losses, cpu.losses, 1e-5);
  });

  it('leaks no tensors from step to step', async () => {
    const { devices } = await train({ pp: 1, dp: 1, numMicroBatches: 2, steps: 1 });
    const [device] = devices;
    const { x, y } = batch(1, 2 * MICRO);
    const inputs = new Map([
      ['x', x],
      ['y', y],
    ]);
    const run = (step: number) => device?.run('train', { step, seed: 1, learningRate: 0.1, inputs, timeoutSeconds: 5 });
    await run(1);
    const before = tf.memory().numTensors;
    await run(2);
    expect(tf.memory().numTensors).toBe(before);
    expect(device?.measuredBytes()).toMatchObject({ persistent: 2 * (12 + 8) * 4 });
    device?.close();
    expect(tf.memory().numTensors).toBeLessThan(before);
  });

  it('names step, rank and the first op when the loss is not finite', async () => {
    const graph = record((r) => {
      const w = r.parameter('w', [3, 4], 'float32', { trainable: true });
      return {
        outputs: [
          [
            'loss',
            tf.mean(tf.exp(tf.log(tf.matMul(r.input('x', [MICRO, 3], 'float32') as tf.Tensor2D, w as tf.Tensor2D)))),
          ],
        ],
      };
    });
    const scoped = { ...graph, nodes: graph.nodes.map((node) => ({ ...node, scope: `layer_${node.kernel}` })) };
    const [device] = await openDevices(naivePlans({ stages: [scoped], dp: 1, numMicroBatches: 1 }));
    const attempt = device?.run('train', {
      step: 7,
      seed: 1,
      learningRate: 0.1,
      inputs: new Map([['x', spread(6, -1, 1, 3)]]),
      timeoutSeconds: 5,
    });
    await expect(attempt).rejects.toMatchObject({
      code: 'engine/nan-loss',
      path: expect.stringMatching(/step 7, rank 0, micro-batch 0, Log in layer_Log$/),
    });
  });

  it('names the absent rank when a peer does not come', async () => {
    const devices = await openDevices(naivePlans({ stages: stages(1), dp: 2, numMicroBatches: 1 }));
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
      message: expect.stringMatching(/rank 1 is absent from all-reduce .*#1 of group 1 \(dp\)/),
    });
  });

  it('stops at once when aborted', async () => {
    const devices = await openDevices(naivePlans({ stages: stages(2), dp: 1, numMicroBatches: 1 }));
    const inputs = new Map([['y', spread(4, -1, 1, 3)]]);
    const attempt = devices[1]?.run('train', { step: 0, seed: 1, learningRate: 0.1, inputs, timeoutSeconds: 60 });
    setTimeout(() => devices[1]?.abort('rank 0 died'), 20);
    await expect(attempt).rejects.toMatchObject({
      code: 'comm/aborted',
      message: expect.stringContaining('rank 0 died'),
    });
  });

  it('refuses a batch of the wrong size', async () => {
    const [device] = await openDevices(naivePlans({ stages: stages(1), dp: 1, numMicroBatches: 2 }));
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
    await expect(attempt).rejects.toMatchObject({ code: 'config/batch' });
  });
});
