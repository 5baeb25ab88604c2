/** Every other kind of tf.layers layer: traced in all modes, replayed on CPU, the same numbers as its own predict. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { replayGraph } from '../../src/graph/replay.js';
import { fieldsOfModel } from '../../src/trace/fields.js';
import { traceModel } from '../../src/trace/trace.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const { layers } = tf;
type Stack = tf.layers.Layer[];

const CASES: Record<string, { shape: number[]; make: () => Stack }> = {
  activations: {
    shape: [4],
    make: () => [
      layers.elu(),
      layers.leakyReLU(),
      layers.prelu(),
      layers.thresholdedReLU({ theta: 0.1 }),
      layers.reLU({ maxValue: 2 }),
      layers.softmax(),
      ...(['hardSigmoid', 'softplus', 'softsign', 'selu', 'relu6', 'swish', 'mish', 'gelu', 'gelu_new'] as const).map(
        (activation) => layers.activation({ activation: activation as 'relu' }),
      ),
    ],
  },
  shapes: {
    shape: [4, 6],
    make: () => [
      layers.permute({ dims: [2, 1] }),
      layers.reshape({ targetShape: [8, 3] }),
      layers.reshape({ targetShape: [24] }),
      layers.repeatVector({ n: 2 }),
      layers.flatten(),
    ],
  },
  'time distributed': { shape: [3, 4], make: () => [layers.timeDistributed({ layer: layers.dense({ units: 2 }) })] },
  masking: { shape: [5, 2], make: () => [layers.masking({ maskValue: 0 }), layers.lstm({ units: 3 })] },
  'stacked cells': {
    shape: [3, 2],
    make: () => [layers.rnn({ cell: [layers.gruCell({ units: 2 }), layers.lstmCell({ units: 3 })] })],
  },
  'convolutional lstm': {
    shape: [2, 5, 5, 1],
    make: () => [layers.convLstm2d({ filters: 2, kernelSize: 2 }), layers.flatten()],
  },
  'one dimension': {
    shape: [8, 2],
    make: () => [
      layers.conv1d({ filters: 3, kernelSize: 2, padding: 'same' }),
      layers.averagePooling1d({ poolSize: 2 }),
      layers.globalAveragePooling1d(),
    ],
  },
  'transposed 3d': {
    shape: [2, 2, 2, 1],
    make: () => [layers.conv3dTranspose({ filters: 1, kernelSize: 2 }), layers.averagePooling3d({ poolSize: 2 })],
  },
  'channels first': {
    shape: [2, 6, 6],
    make: () => [
      layers.maxPooling2d({ poolSize: 2, dataFormat: 'channelsFirst' }),
      layers.globalMaxPooling2d({ dataFormat: 'channelsFirst' }),
    ],
  },
  'image preprocessing': {
    shape: [6, 6, 3],
    make: () => [
      layers.rescaling({ scale: 0.5 }),
      layers.upSampling2d({ interpolation: 'bilinear' }),
      layers.flatten(),
    ],
  },
};

describe('tf.layers', () => {
  for (const [name, { shape, make }] of Object.entries(CASES)) {
    for (const batchSize of [1, 2]) {
      it(`${name}, batch ${batchSize}`, () => {
        const input = tf.input({ shape });
        const output = make().reduce((tensor, layer) => layer.apply(tensor) as tf.SymbolicTensor, input);
        const model = tf.model({ inputs: input, outputs: output });
        model.compile({ optimizer: 'sgd', loss: 'meanSquaredError', metrics: ['mse'] });
        const x = tf.randomUniform([batchSize, ...shape], -1, 1, 'float32', 1);
        const { graph, variables } = traceModel(model, 'predict', fieldsOfModel(model).slice(0, 1), batchSize);
        const { outputs } = replayGraph(graph, { inputs: { [model.inputNames[0]!]: x }, parameters: variables });
        const own = (model.predict(x) as tf.Tensor).dataSync();
        const replayed = outputs[model.outputNames[0]!]!.dataSync();
        expect(replayed).toHaveLength(own.length);
        replayed.forEach((value, index) => {
          expect(Math.abs(value - own[index]!)).toBeLessThan(1e-5);
        });
        const train = traceModel(model, 'train', fieldsOfModel(model), batchSize).graph;
        expect(train.values[train.outputs[0]!.value]!.shape).toEqual([]);
        expect(train.values.some(({ batchDim }) => batchDim === 0)).toBe(true);
      });
    }
  }
});
