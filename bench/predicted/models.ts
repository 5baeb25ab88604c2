/** The models of the measured checks. */
import * as tf from '@tensorflow/tfjs';
import { gpt } from '../../src/models/gpt.js';
import { makeSubject, type Subject } from './subject.js';

/** That of examples/gpt: 10.9 M parameters. */
export function exampleGpt(batchSize: number, numLayers = 6): Subject {
  const [contextLength, vocabularySize] = [128, 256];
  const model = gpt({ vocabularySize, contextLength, numLayers, numHeads: 6, hiddenSize: 384, seed: 1 });
  const fields = (['tokens', 'targets'] as const).map((name) => ({
    name,
    shape: [contextLength],
    dtype: 'int32' as const,
  }));
  return makeSubject({ name: `GPT, ${numLayers} layers of 384`, model, batchSize, fields, vocabularySize });
}

export function perceptron(batchSize: number): Subject {
  const model = tf.sequential({
    layers: [
      tf.layers.dense({ units: 1024, activation: 'relu', inputShape: [512], kernelInitializer: 'glorotNormal' }),
      ...Array.from({ length: 3 }, () =>
        tf.layers.dense({ units: 1024, activation: 'relu', kernelInitializer: 'glorotNormal' }),
      ),
      tf.layers.dense({ units: 10, kernelInitializer: 'glorotNormal' }),
    ],
  });
  model.compile({ optimizer: 'adam', loss: 'meanSquaredError' });
  return makeSubject({ name: 'perceptron, 5 layers of 1024', model, batchSize });
}

export function convolutions(batchSize: number): Subject {
  const conv = (filters: number, strides: number, inputShape?: [number, number, number]) =>
    tf.layers.conv2d({
      filters,
      strides,
      kernelSize: 3,
      padding: 'same',
      activation: 'relu',
      kernelInitializer: 'glorotNormal',
      ...(inputShape === undefined ? {} : { inputShape }),
    });
  const model = tf.sequential({
    layers: [
      conv(32, 1, [32, 32, 3]),
      conv(64, 2),
      conv(64, 1),
      conv(128, 2),
      conv(128, 1),
      tf.layers.flatten(),
      tf.layers.dense({ units: 10, kernelInitializer: 'glorotNormal' }),
    ],
  });
  model.compile({ optimizer: 'adam', loss: 'meanSquaredError' });
  return makeSubject({ name: 'convolutions on 32 x 32', model, batchSize });
}

/** By name, at the batch size at which layouts are compared. */
export const SUBJECTS: readonly (readonly [string, () => Subject])[] = [
  ['GPT', () => exampleGpt(8, 4)],
  ['perceptron', () => perceptron(64)],
  ['convolutions', () => convolutions(16)],
];
