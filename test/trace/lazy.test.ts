/** Building without memory. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { MerakError } from '../../src/errors.js';
import { initialize } from '../../src/graph/initialize.js';
import { variable } from '../../src/nn/variable.js';
import { fieldsOfModel } from '../../src/trace/fields.js';
import { initializerOf, lazy } from '../../src/trace/lazy.js';
import { traceModel } from '../../src/trace/trace.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const { layers } = tf;

function initializersOf(model: tf.LayersModel) {
  return Object.fromEntries(
    model.weights.map((weight) => [weight.originalName, initializerOf(weight.read() as tf.Variable)]),
  );
}

describe('lazy', () => {
  it('records the initialisers of tf.layers', () => {
    const model = lazy(() =>
      tf.sequential({
        layers: [
          layers.embedding({ inputDim: 50, outputDim: 4, inputLength: 3, name: 'lazy_e' }),
          layers.flatten(),
          layers.dense({ units: 6, name: 'lazy_d', kernelInitializer: 'heNormal', biasInitializer: 'ones' }),
          layers.dense({ units: 3, name: 'lazy_g' }),
          layers.batchNormalization({ name: 'lazy_bn' }),
        ],
      }),
    );
    expect(initializersOf(model)).toEqual({
      'lazy_e/embeddings': { kind: 'uniform', low: -0.05, high: 0.05 },
      'lazy_d/kernel': { kind: 'truncatedNormal', mean: 0, stddev: Math.sqrt(2 / 12) },
      'lazy_d/bias': { kind: 'constant', value: 1 },
      'lazy_g/kernel': { kind: 'truncatedNormal', mean: 0, stddev: Math.sqrt(2 / (6 + 3)) },
      'lazy_g/bias': { kind: 'constant', value: 0 },
      'lazy_bn/gamma': { kind: 'constant', value: 1 },
      'lazy_bn/beta': { kind: 'constant', value: 0 },
      'lazy_bn/moving_mean': { kind: 'constant', value: 0 },
      'lazy_bn/moving_variance': { kind: 'constant', value: 1 },
    });
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const { graph } = traceModel(model, 'train', fieldsOfModel(model), 2);
    expect(graph.parameters.every(({ initializer }) => initializer !== undefined)).toBe(true);
  });

  it('draws from the bounds tf.layers draws from', () => {
    const make = (name: string) => layers.conv2d({ filters: 8, kernelSize: 3, inputShape: [9, 9, 4], name });
    const real = tf.sequential({ layers: [make('real_conv')] });
    const recorded = initializersOf(lazy(() => tf.sequential({ layers: [make('lazy_conv')] })))['lazy_conv/kernel']!;
    const own = (real.weights[0]!.read() as tf.Variable).dataSync();
    const drawn = initialize(recorded, 'lazy_conv/kernel', [3, 3, 4, 8], 0);
    const spread = (values: ArrayLike<number>) =>
      Math.sqrt(Array.from(values, (x) => x * x).reduce((a, b) => a + b) / values.length);
    expect(spread(drawn) / spread(own)).toBeCloseTo(1, 0);
    expect(Math.max(...drawn)).toBeLessThan(Math.max(...own) * 1.2);
  });

  it('computes what cannot be recorded, when small', () => {
    const model = lazy(() =>
      tf.sequential({ layers: [layers.lstm({ units: 4, unitForgetBias: true, inputShape: [3, 2] })] }),
    );
    const [, recurrent, bias] = model.weights.map((weight) => weight.read() as tf.Variable);
    expect([...bias!.dataSync()]).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    const matrix = tf.tensor(recurrent!.dataSync(), [4, 16]);
    const identity = tf.matMul(matrix, matrix, false, true);
    expect(tf.max(tf.abs(tf.sub(identity, tf.eye(4)))).dataSync()[0]).toBeLessThan(1e-4);
  });

  it('keeps hand-made variables, and builds huge models', () => {
    const { w, huge } = lazy(() => {
      const kernel = layers.dense({ units: 200_000, inputShape: [100_000], name: 'lazy_huge' });
      tf.sequential({ layers: [kernel] });
      return { w: tf.variable(tf.tensor1d([1, 2, 3]).mul(2), true, 'lazy_w'), huge: kernel.weights[0]! };
    });
    expect([...w.dataSync()]).toEqual([2, 4, 6]);
    expect(huge.shape).toEqual([100_000, 200_000]);
    const { graph } = traceModel(() => tf.sum(w) as tf.Scalar, 'train', [], 1);
    expect(graph.parameters[0]!.initializer).toBeUndefined();
  });

  it('records the initialisers of merak.nn', () => {
    const kind = { kind: 'normal', mean: 0, stddev: 0.02 } as const;
    const w = lazy(() => variable('lazy/nn', [50_000, 50_000], kind));
    expect(initializerOf(w)).toEqual(kind);
    const { graph } = traceModel(() => tf.sum(w) as tf.Scalar, 'train', [], 1);
    expect(graph.parameters).toEqual([{ name: 'lazy/nn', value: 0, trainable: true, initializer: kind }]);
    const now = variable('lazy/nn_now', [4], kind);
    expect([...now.dataSync()]).toEqual([...initialize(kind, 'lazy/nn_now', [4], 0)]);
  });

  it('says so when lazy values are read, a build is asynchronous, or an initial value is too large', () => {
    const codeOf = (body: () => unknown) => {
      try {
        body();
      } catch (error) {
        return error instanceof MerakError ? error.code : String(error);
      }
      return 'nothing';
    };
    const model = lazy(() => tf.sequential({ layers: [layers.dense({ units: 2, inputShape: [2] })] }));
    expect(codeOf(() => model.weights[0]!.read().dataSync())).toBe('trace/data-read');
    expect(codeOf(() => model.predict(tf.ones([1, 2])))).toBe('trace/data-read');
    expect(codeOf(() => lazy(async () => model))).toBe('trace/model');
    const orthogonal = () => layers.dense({ units: 10_000, inputShape: [10_000], kernelInitializer: 'orthogonal' });
    expect(codeOf(() => lazy(() => tf.sequential({ layers: [orthogonal()] })))).toBe('trace/model');
    expect(tf.getBackend()).toBe('cpu');
    expect(tf.initializers.zeros().apply([2]).dataSync()[0]).toBe(0);
  });
});
