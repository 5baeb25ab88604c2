/** tf.layers models, traced and optimised as Merak does: preferring shards, they train to the same numbers. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Graph } from '../../src/graph/graph.js';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import { chooseLayouts } from '../../src/tensorparallel/search.js';
import { fieldsOfModel } from '../../src/trace/fields.js';
import { traceModel } from '../../src/trace/trace.js';
import { expectParity, expectSameInSubBatches, ids, numbers, size } from './parity.js';
import { randomAssignment, randomFrom } from './randomAssignment.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const BATCH = 3;

const MODELS: Record<string, { layers: () => tf.layers.Layer[]; loss: string; numClasses?: number }> = {
  'an MLP with batch norm': {
    layers: () => [
      tf.layers.dense({ units: 8, inputShape: [4], activation: 'relu' }),
      tf.layers.batchNormalization(),
      tf.layers.dropout({ rate: 0.3 }),
      tf.layers.dense({ units: 8, activation: 'tanh' }),
      tf.layers.dense({ units: 2 }),
    ],
    loss: 'meanSquaredError',
  },
  'a convolutional classifier': {
    layers: () => [
      tf.layers.conv2d({ filters: 4, kernelSize: 3, inputShape: [8, 8, 1], activation: 'relu' }),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.separableConv2d({ filters: 8, kernelSize: 2, activation: 'relu' }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 6, activation: 'softmax' }),
    ],
    loss: 'sparseCategoricalCrossentropy',
    numClasses: 6,
  },
  'an LSTM over an embedding': {
    layers: () => [
      tf.layers.embedding({ inputDim: 9, outputDim: 4, inputLength: 4 }),
      tf.layers.lstm({ units: 4, recurrentActivation: 'sigmoid' }),
      tf.layers.dense({ units: 9, activation: 'softmax' }),
    ],
    loss: 'sparseCategoricalCrossentropy',
    numClasses: 9,
  },
  'a bidirectional GRU with layer norm': {
    layers: () => [
      tf.layers.bidirectional({
        layer: tf.layers.gru({ units: 4, returnSequences: true, recurrentActivation: 'sigmoid' }) as tf.RNN,
        inputShape: [3, 4],
      } as Parameters<typeof tf.layers.bidirectional>[0]),
      tf.layers.layerNormalization(),
      tf.layers.dense({ units: 4 }),
    ],
    loss: 'meanSquaredError',
  },
};

function graphOf(name: string): Graph {
  const { layers, loss } = MODELS[name]!;
  const model = tf.sequential({ layers: layers() });
  model.compile({ loss, optimizer: 'sgd' });
  // tf.layers floors its labels, which tfjs allows of floats only.
  const fields = fieldsOfModel(model).map((field) => ({ ...field, dtype: 'float32' as const }));
  return optimizeGraph(traceModel(model, 'train', fields, BATCH).graph);
}

function feedOf(graph: Graph, numClasses: number): Record<string, tf.Tensor> {
  return Object.fromEntries(
    graph.inputs.map(({ name, value }, i) => {
      const { shape, dtype } = graph.values[value]!;
      const isLabel = numClasses > 2 && (name.startsWith('target') || name.startsWith('embedding'));
      const data = isLabel ? ids(size(shape), numClasses, i) : numbers(size(shape), 1, i + 3);
      return [name, tf.tensor(Float32Array.from(data), [...shape], dtype)];
    }),
  );
}

describe('a tf.layers model', () => {
  for (const name of Object.keys(MODELS)) {
    it(`${name}: chosen layouts and any others, and sub-batches`, () => {
      const graph = graphOf(name);
      const feed = feedOf(graph, MODELS[name]!.numClasses ?? 2);
      const positive = graph.parameters.map(({ value }, i) =>
        numbers(size(graph.values[value]!.shape), 0.5, i + 21).map((x) => Math.abs(x) + 0.05 * (i % 3)),
      );
      const signed = positive.map((data, i) =>
        /variance|gamma/.test(graph.parameters[i]!.name) ? data : numbers(data.length, 0.6, i + 31),
      );
      const assignment = chooseLayouts(graph, 2, { prefer: 'shard' });
      expect(assignment.layouts.some(({ kind }) => kind === 'shard')).toBe(true);
      expectParity(graph, assignment, feed, signed, 3e-4);
      expectSameInSubBatches(graph, BATCH, feed, signed, 1e-4);
      for (let seed = 1; seed <= 3; seed++) {
        expectParity(graph, randomAssignment(graph, 2, randomFrom(seed)), feed, signed, 3e-4);
      }
    });
  }
});
