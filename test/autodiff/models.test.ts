/** Gradients of whole tf.layers models: against a step of plain SGD with learning rate 1 by tfjs itself. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { differentiate } from '../../src/autodiff/differentiate.js';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import { ensureKernels } from '../../src/kernels/register.js';
import { fieldsOfModel } from '../../src/trace/fields.js';
import { traceModel } from '../../src/trace/trace.js';
import { evaluate } from './evaluate.js';
import { spread } from './finiteDifferences.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const BATCH = 4;

interface Sample {
  readonly title: string;
  readonly build: () => tf.LayersModel;
  readonly loss: string;
  /** Integer inputs below this. */
  readonly vocabulary?: number;
}

const init = (seed: number) => tf.initializers.glorotUniform({ seed });
const samples: Sample[] = [
  {
    title: 'dense',
    loss: 'meanSquaredError',
    build: () =>
      tf.sequential({
        layers: [
          tf.layers.dense({ units: 5, activation: 'elu', inputShape: [3], kernelInitializer: init(1) }),
          tf.layers.dense({ units: 2, kernelInitializer: init(2) }),
        ],
      }),
  },
  {
    title: 'convolution, batch normalisation, pooling',
    loss: 'categoricalCrossentropy',
    build: () =>
      tf.sequential({
        layers: [
          tf.layers.conv2d({
            filters: 3,
            kernelSize: 3,
            padding: 'same',
            inputShape: [6, 6, 1],
            kernelInitializer: init(3),
          }),
          tf.layers.batchNormalization(),
          tf.layers.reLU(),
          tf.layers.maxPooling2d({ poolSize: 2 }),
          tf.layers.flatten(),
          tf.layers.dense({ units: 3, activation: 'softmax', kernelInitializer: init(4) }),
        ],
      }),
  },
  {
    title: 'LSTM',
    loss: 'meanSquaredError',
    build: () =>
      tf.sequential({
        layers: [
          tf.layers.lstm({ units: 3, inputShape: [4, 2], kernelInitializer: init(5), recurrentInitializer: init(6) }),
          tf.layers.dense({ units: 1, kernelInitializer: init(7) }),
        ],
      }),
  },
  {
    title: 'embedding, bidirectional GRU, layer normalisation',
    loss: 'meanSquaredError',
    vocabulary: 5,
    build: () =>
      tf.sequential({
        layers: [
          tf.layers.embedding({ inputDim: 5, outputDim: 3, inputLength: 4 }),
          tf.layers.bidirectional({
            layer: tf.layers.gru({
              units: 2,
              returnSequences: true,
              kernelInitializer: init(8),
              recurrentInitializer: init(9),
            }) as tf.RNN,
            mergeMode: 'concat',
          }),
          tf.layers.layerNormalization(),
          tf.layers.globalAveragePooling1d({}),
          tf.layers.dense({ units: 1, kernelInitializer: init(10) }),
        ],
      }),
  },
];

describe('gradients of tf.layers models', () => {
  for (const { title, build, loss, vocabulary } of samples) {
    it(title, async () => {
      const model = build();
      model.compile({ optimizer: tf.train.sgd(1), loss });
      const fields = fieldsOfModel(model);
      const trace = traceModel(model, 'train', fields, BATCH);
      const derivative = differentiate({ stage: 0, graph: optimizeGraph(trace.graph), parameterOf: [] });
      const { graph } = derivative;
      const data = graph.inputs.map(({ value }, index) => {
        const type = graph.values[value];
        const shape = [...(type?.shape ?? [])];
        const size = shape.reduce((a, b) => a * b, 1);
        if (vocabulary !== undefined && index === 0)
          return tf.tensor(
            Int32Array.from({ length: size }, (_, i) => (i * i) % vocabulary),
            shape,
            'int32',
          );
        const values = spread(size, -1, 1, 3 + index);
        return index > 0 && loss === 'categoricalCrossentropy'
          ? tf.softmax(tf.tensor(values, shape))
          : tf.tensor(values, shape, type?.dtype);
      });
      const byName = new Map(
        trace.graph.parameters.map(({ name }, index) => [name, trace.variables[index] as tf.Variable]),
      );
      const before = new Map([...byName].map(([name, variable]) => [name, variable.clone()]));
      const bindings = new Map([
        ...graph.inputs.map(({ value }, index): [number, tf.Tensor] => [value, data[index] as tf.Tensor]),
        ...graph.parameters.map(({ name, value }): [number, tf.Tensor] => [value, before.get(name) as tf.Tensor]),
      ]);
      const values = evaluate(graph, bindings);
      await model.trainOnBatch(data[0] as tf.Tensor, data[1] as tf.Tensor);
      graph.parameters.forEach(({ name, trainable }, index) => {
        const id = derivative.parameterGradients[index];
        expect(id === null).toBe(!trainable);
        if (id === null || id === undefined) return;
        const mine = values.get(id)?.dataSync() ?? [];
        const theirs = tf.sub(before.get(name) as tf.Tensor, byName.get(name) as tf.Tensor).dataSync();
        const scale = Math.max(0.05, ...Array.from(theirs, Math.abs));
        for (let i = 0; i < theirs.length; i++)
          expect(Math.abs((mine[i] ?? Number.NaN) - (theirs[i] ?? 0)) / scale, name).toBeLessThan(1e-4);
      });
    });
  }
});
