/** Data-parallel gradients are all-reduced while the last backward pass still runs, and the result is that of one replica. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import { buildPlan } from '../../../src/planner/buildPlan.js';
import type { ArenaHandle } from '../../../src/runtime/device.js';
import { NativeDevice } from '../../../src/runtime/native/device.js';
import { traceModel } from '../../../src/trace/trace.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const WIDTH = 768; // a weight of 2.25 MiB: a chunk of its own
const BATCH = 8;
const STEPS = 3;

/** Without a pattern in i: of a plain wave the products all but vanish, and what is left of the loss is rounding. */
const noise = (size: number, seed: number, scale: number) =>
  Float32Array.from({ length: size }, (_, i) => scale * ((Math.sin(i * 12.9898 + seed) * 43758.5453) % 1));

async function train(dp: number, numMicroBatches: number) {
  const weights = [0, 1, 2].map((k) =>
    tf.variable(tf.tensor2d(noise(WIDTH * WIDTH, k, 0.05), [WIDTH, WIDTH]), true, `w${dp}${numMicroBatches}${k}`),
  );
  const model = {
    variables: weights,
    loss: (batch: Readonly<Record<string, tf.Tensor>>) =>
      tf.tidy(
        () =>
          tf.mean(
            tf.square(
              weights.reduce<tf.Tensor2D>((x, w) => tf.tanh(tf.matMul(x, w)) as tf.Tensor2D, batch.x as tf.Tensor2D),
            ),
          ) as tf.Scalar,
      ),
  };
  const microBatchSize = BATCH / dp / numMicroBatches;
  const trace = traceModel(model as never, 'train', [{ name: 'x', shape: [WIDTH], dtype: 'float32' }], microBatchSize);
  const plan = buildPlan({
    train: optimizeGraph(trace.graph),
    optimizer: { kind: 'sgd' },
    microBatchSize,
    numMicroBatches,
    mesh: { dp, tp: 1, pp: 1 },
  });
  const handles: ArenaHandle[] = [];
  const devices = await Promise.all(
    plan.ranks.map(async (rank) => {
      const device = new NativeDevice();
      handles.push(...(await device.open(rank)), ...(await device.load(rank.executables[0]!)));
      for (const [index, { name }] of rank.parameters.entries()) {
        const at = trace.graph.parameters.findIndex((parameter) => parameter.name === name);
        await device.write(index, 'value', trace.variables[at]!.dataSync() as Float32Array);
      }
      return device;
    }),
  );
  for (const device of devices) await device.connect(handles);
  const losses: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const x = noise(BATCH * WIDTH, 10 + step, 1);
    const results = await Promise.all(
      devices.map((device, replica) => {
        const inputs = new Map([['x', x.subarray((replica * x.length) / dp, ((replica + 1) * x.length) / dp)]]);
        return device.run('train', { step, seed: 1, learningRate: 0.5, inputs, timeoutSeconds: 20 });
      }),
    );
    losses.push(results[0]!.metrics.loss!);
  }
  const trained = await Promise.all([0, 1, 2].map((index) => devices[0]!.read(index, 'value')));
  const events = await devices[0]!.takeCollectiveTrace();
  for (const device of devices) device.close();
  tf.dispose(weights);
  return { losses, trained, events };
}

it('for any number of micro-batches', async () => {
  const one = await train(1, 1);
  expect(one.events).toHaveLength(0);
  for (const numMicroBatches of [1, 2]) {
    const two = await train(2, numMicroBatches);
    // A chunk per weight and step, queued before the next weight's gradient is made.
    expect(two.events).toHaveLength(3 * STEPS);
    for (const [step, loss] of two.losses.entries()) expect(Math.abs(loss / one.losses[step]! - 1)).toBeLessThan(1e-5);
    two.trained.forEach((values, index) => {
      let worst = 0;
      values.forEach((value, i) => {
        worst = Math.max(worst, Math.abs(value - one.trained[index]![i]!));
      });
      expect(worst).toBeLessThan(1e-6);
    });
  }
}, 30_000);
