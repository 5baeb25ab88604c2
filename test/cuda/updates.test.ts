/** Updates of parameters on the stand-in card beside the optimizers' formulas (docs/kernels.md) in double. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, it } from 'vitest';
import type { OptimizerPlan } from '../../src/plan/plan.js';
import { buildPlan } from '../../src/planner/buildPlan.js';
import type { HostArray } from '../../src/runtime/device.js';
import { NativeDevice } from '../../src/runtime/native/device.js';
import type { Batch } from '../../src/trace/model.js';
import { traceModel } from '../../src/trace/trace.js';
import { relativeError } from './card.js';
import { fresh } from './float64/case.js';
import { expectWithin } from './float64/errors.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const [SAMPLES, ROWS, COLUMNS] = [3, 37, 53];
const LEARNING_RATE = 0.05;
const NUM_STEPS = 4;

/** One parameter: its value, its moments, how its gradient follows from a batch. */
interface Parameter {
  readonly decays: boolean;
  readonly start: Float32Array;
  readonly gradient: (inputs: ReadonlyMap<string, HostArray>) => number[];
  /** Moves value and moments in place. */
  readonly value: number[];
  readonly moments: number[][];
}

const zeros = (n: number) => new Array<number>(n).fill(0);

/** The formulas, one element at a time; `moments` in the engine's order. */
function update(o: OptimizerPlan, { value, moments, decays }: Parameter, g: readonly number[], t: number): void {
  const [first, second, third] = moments;
  g.forEach((slope, i) => {
    if (o.kind === 'sgd') value[i]! -= LEARNING_RATE * slope;
    if (o.kind === 'momentum') {
      first![i] = o.momentum * first![i]! + slope;
      value[i]! -= LEARNING_RATE * (o.nesterov ? slope + o.momentum * first![i]! : first![i]!);
    }
    if (o.kind === 'rmsprop') {
      first![i] = o.decay * first![i]! + (1 - o.decay) * slope ** 2;
      if (o.centered) third![i] = o.decay * third![i]! + (1 - o.decay) * slope;
      const spread = first![i]! - (o.centered ? third![i]! ** 2 : 0) + o.epsilon;
      second![i] = o.momentum * second![i]! + (LEARNING_RATE * slope) / Math.sqrt(spread);
      value[i]! -= second![i]!;
    }
    if (o.kind === 'adam') {
      first![i] = o.beta1 * first![i]! + (1 - o.beta1) * slope;
      second![i] = o.beta2 * second![i]! + (1 - o.beta2) * slope ** 2;
      if (decays) value[i]! -= LEARNING_RATE * o.weightDecay * value[i]!;
      const denominator = Math.sqrt(second![i]! / (1 - o.beta2 ** t)) + o.epsilon;
      value[i]! -= (LEARNING_RATE * (first![i]! / (1 - o.beta1 ** t))) / denominator;
    }
  });
}

const numMoments = (o: OptimizerPlan) =>
  o.kind === 'sgd' ? 0 : o.kind === 'momentum' ? 1 : o.kind === 'rmsprop' && o.centered ? 3 : 2;

it.each<OptimizerPlan>([
  { kind: 'sgd' },
  { kind: 'momentum', momentum: 0.9, nesterov: true },
  { kind: 'rmsprop', decay: 0.9, momentum: 0.5, epsilon: 1e-6, centered: true },
  { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1 },
])('$kind', async (optimizer) => {
  const starts = { w: fresh([ROWS, COLUMNS]), b: fresh([COLUMNS]) };
  const w = tf.variable(tf.tensor2d(starts.w.data as Float32Array, [ROWS, COLUMNS]), true, `w ${optimizer.kind}`);
  const b = tf.variable(tf.tensor1d(starts.b.data as Float32Array), true, `b ${optimizer.kind}`);
  // Linear, so that gradients are means of the batch alone.
  const model = ({ x, z }: Batch) =>
    tf.mean(tf.sum(tf.add(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D), tf.mul(z as tf.Tensor, b)), 1));
  const fields = (['x', 'z'] as const).map((name) => ({
    name,
    shape: [name === 'x' ? ROWS : COLUMNS],
    dtype: 'float32' as const,
  }));
  const { graph } = traceModel(model, 'train', fields, SAMPLES);
  tf.dispose([w, b]);
  const [plan] = buildPlan({ train: graph, mesh: { pp: 1, dp: 1, tp: 1 }, optimizer, numMicroBatches: 1 }).ranks;
  const column = (data: HostArray, width: number, i: number) =>
    Array.from({ length: SAMPLES }, (_, s) => data[s * width + i]!).reduce((sum, x) => sum + x, 0) / SAMPLES;
  const parameterOf = (name: string): Parameter => {
    const start = (name.startsWith('w') ? starts.w : starts.b).data as Float32Array;
    return {
      decays: name.startsWith('w'),
      start,
      gradient: (inputs) =>
        Array.from(start, (_, i) =>
          name.startsWith('w')
            ? column(inputs.get('x')!, ROWS, Math.floor(i / COLUMNS))
            : column(inputs.get('z')!, COLUMNS, i),
        ),
      value: [...start],
      moments: Array.from({ length: numMoments(optimizer) }, () => zeros(start.length)),
    };
  };
  const parameters = plan!.parameters.map(({ name }) => parameterOf(name));

  const device = new NativeDevice({ cuda: { ordinal: 0 } });
  const handles = [...(await device.open(plan!))];
  for (const executable of plan!.executables) handles.push(...(await device.load(executable)));
  for (const [index, { start }] of parameters.entries()) await device.write(index, 'value', start);
  await device.connect(handles);
  for (let step = 0; step < NUM_STEPS; step++) {
    const inputs = new Map<string, HostArray>([
      ['x', fresh([SAMPLES, ROWS]).data],
      ['z', fresh([SAMPLES, COLUMNS]).data],
    ]);
    await device.run('train', { step, seed: 1, learningRate: LEARNING_RATE, inputs, timeoutSeconds: 60 });
    for (const one of parameters) update(optimizer, one, one.gradient(inputs), step + 1);
  }
  for (const [index, { start, value, moments }] of parameters.entries()) {
    const moved = (to: ArrayLike<number>) => Array.from(to, (x, i) => x - start[i]!);
    const errors = [relativeError(moved(await device.read(index, 'value')), moved(value))];
    for (const [k, moment] of moments.entries())
      errors.push(relativeError([...(await device.read(index, k as 0 | 1))], moment));
    const shapes = String(start.length);
    expectWithin({ kernel: `update by ${optimizer.kind}`, precision: 'f32', shapes, error: Math.max(...errors) });
  }
  device.close();
});
