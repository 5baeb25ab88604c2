/** Unrolled recurrences on the engine: the weight that all time steps read is packed once, and again after every update. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import type { Plan } from '../../../src/plan/plan.js';
import { buildPlan } from '../../../src/planner/buildPlan.js';
import { NativeDevice } from '../../../src/runtime/native/device.js';
import { nativeWorkspace } from '../../../src/runtime/native/workspace.js';
import { traceModel } from '../../../src/trace/trace.js';
import { close } from '../../kernels/numeric.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const [BATCH, FEATURES, HIDDEN, RATE] = [4, 5, 130, 0.1];

/** h := tanh(x_t w + h u); the loss is of the last h. */
function recurrence() {
  const w = tf.variable(tf.randomNormal([FEATURES, HIDDEN], 0, 0.3, 'float32', 1));
  const u = tf.variable(tf.randomNormal([HIDDEN, HIDDEN], 0, 0.3, 'float32', 2));
  const loss = ({ x }: Record<string, tf.Tensor>) => {
    let h: tf.Tensor | undefined;
    for (const step of tf.unstack(x!, 1)) {
      const fed = tf.matMul(step, w);
      h = tf.tanh(h === undefined ? fed : tf.add(fed, tf.matMul(h, u)));
    }
    return tf.mean(tf.square(h!)) as tf.Scalar;
  };
  return { loss, variables: [w, u] };
}

function planOf(loss: ReturnType<typeof recurrence>['loss'], numSteps: number, precision: 'f32' | 'bf16' = 'f32') {
  const { graph, variables } = traceModel(
    loss,
    'train',
    [{ name: 'x', shape: [numSteps, FEATURES], dtype: 'float32' }],
    BATCH,
  );
  const plan: Plan = buildPlan({
    train: optimizeGraph(graph),
    optimizer: { kind: 'sgd' },
    microBatchSize: BATCH,
    precision,
    workspaceOf: nativeWorkspace(2),
  });
  return { rank: plan.ranks[0]!, graph, variables };
}

it.each(['f32', 'bf16'] as const)('what is kept packed does not grow with the time steps, %s', (precision) => {
  const { loss } = recurrence();
  const kept = (numSteps: number) => planOf(loss, numSteps, precision).rank.executables[0]!.workspace!.keptBytes;
  expect(kept(12)).toBe(kept(6));
});

it('trains as tfjs does, update after update', async () => {
  const { loss, variables } = recurrence();
  const { rank, graph, variables: traced } = planOf(loss, 7);
  const device = new NativeDevice({ threads: 2 });
  await device.open(rank);
  await device.load(rank.executables[0]!);
  for (const [index, { name }] of rank.parameters.entries()) {
    const at = graph.parameters.findIndex((parameter) => parameter.name === name);
    await device.write(index, 'value', traced[at]!.dataSync() as Float32Array);
  }
  const optimizer = tf.train.sgd(RATE);
  for (let step = 0; step < 4; step++) {
    const x = tf.randomNormal([BATCH, 7, FEATURES], 0, 1, 'float32', step + 3);
    const inputs = new Map([['x', x.dataSync() as Float32Array]]);
    const { metrics } = await device.run('train', { step, seed: 1, learningRate: RATE, timeoutSeconds: 60, inputs });
    const expected = optimizer.minimize(() => loss({ x }), true, variables)!.dataSync()[0]!;
    expect(Math.abs(metrics.loss! - expected)).toBeLessThan(1e-5 * expected);
  }
  for (const [index, { name }] of rank.parameters.entries()) {
    const at = graph.parameters.findIndex((parameter) => parameter.name === name);
    const trained = (await device.read(index, 'value')) as Float32Array;
    close(trained, traced[at]!.dataSync() as Float32Array, 1e-4, 1e-5);
  }
  device.close();
});
