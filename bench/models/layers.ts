/** The tf.layers benchmarks: a ResNet-20 for 32 x 32 images (He et al. 2016, section 4.2) and an LSTM over text. */
import * as tf from '@tensorflow/tfjs';
import type { HostBatch } from '../../src/data/source.js';
import { textBatch } from './gpt.js';
import { adam, noise, PRODUCTS_CONVENTION, productFlops, type Workload } from './workload.js';

const CLASSES = 10;
const IMAGE = [32, 32, 3] as const;
const BLOCKS_PER_STAGE = 3;
const STAGES = [16, 32, 64] as const;

const seeded = (seed: number) => tf.initializers.heNormal({ seed });

function resnet20(): tf.LayersModel {
  let seed = 1;
  const conv = (x: tf.SymbolicTensor, filters: number, kernelSize: number, strides: number) =>
    tf.layers
      .conv2d({ filters, kernelSize, strides, padding: 'same', useBias: false, kernelInitializer: seeded(seed++) })
      .apply(x) as tf.SymbolicTensor;
  const norm = (x: tf.SymbolicTensor) => tf.layers.batchNormalization().apply(x) as tf.SymbolicTensor;
  const relu = (x: tf.SymbolicTensor) => tf.layers.reLU().apply(x) as tf.SymbolicTensor;
  const input = tf.input({ shape: [...IMAGE], name: 'image' });
  let x = relu(norm(conv(input, STAGES[0], 3, 1)));
  for (const [stage, filters] of STAGES.entries()) {
    for (let block = 0; block < BLOCKS_PER_STAGE; block++) {
      const strides = stage > 0 && block === 0 ? 2 : 1;
      const inner = norm(conv(relu(norm(conv(x, filters, 3, strides))), filters, 3, 1));
      const shortcut = strides === 1 ? x : norm(conv(x, filters, 1, strides));
      x = relu(tf.layers.add().apply([inner, shortcut]) as tf.SymbolicTensor);
    }
  }
  const pooled = tf.layers.globalAveragePooling2d({}).apply(x);
  const head = tf.layers.dense({
    units: CLASSES,
    activation: 'softmax',
    kernelInitializer: seeded(seed),
    name: 'class',
  });
  return tf.model({ inputs: input, outputs: head.apply(pooled) as tf.SymbolicTensor });
}

/** Predicts the byte after `length` bytes from the last hidden state. */
function lstmModel(size: typeof LSTM): tf.LayersModel {
  const { vocabularySize, embeddingSize, hiddenSize, contextLength } = size;
  return tf.sequential({
    layers: [
      tf.layers.embedding({
        inputDim: vocabularySize,
        outputDim: embeddingSize,
        inputShape: [contextLength],
        embeddingsInitializer: tf.initializers.randomNormal({ stddev: 0.05, seed: 1 }),
        name: 'byte',
      }),
      tf.layers.lstm({
        units: hiddenSize,
        recurrentActivation: 'sigmoid',
        kernelInitializer: tf.initializers.glorotNormal({ seed: 2 }),
        recurrentInitializer: tf.initializers.glorotNormal({ seed: 3 }),
      }),
      tf.layers.dense({
        units: vocabularySize,
        activation: 'softmax',
        kernelInitializer: tf.initializers.glorotNormal({ seed: 4 }),
        name: 'next',
      }),
    ],
  });
}

function compiled(model: tf.LayersModel) {
  const optimizer = adam();
  model.compile({ optimizer, loss: 'categoricalCrossentropy' });
  return { model, optimizer };
}

function oneHot(labels: readonly number[], numClasses: number): Float32Array {
  const rows = new Float32Array(labels.length * numClasses);
  for (const [row, label] of labels.entries()) rows[row * numClasses + label] = 1;
  return rows;
}

export const resnet: Workload = {
  name: 'resnet',
  title: 'ResNet-20 on 32 x 32 images, 10 classes, batch 32',
  unit: 'images',
  unitsPerSample: 1,
  batchSize: 32,
  stepsPerRound: 4,
  fields: [
    { name: 'image', shape: IMAGE, dtype: 'float32' },
    { name: 'target/class', shape: [CLASSES], dtype: 'float32' },
  ],
  flopsConvention: PRODUCTS_CONVENTION,
  build: () => compiled(resnet20()),
  flopsPerUnit: (model) => productFlops(model as tf.LayersModel),
  batch(size, index): HostBatch {
    const pixels = IMAGE[0] * IMAGE[1] * IMAGE[2];
    const image = Float32Array.from({ length: size * pixels }, (_, i) => noise(index + 1, i) - 0.5);
    const labels = Array.from({ length: size }, (_, i) => Math.floor(noise(index + 1, -1 - i) * CLASSES));
    return {
      size,
      fields: new Map([
        ['image', image],
        ['target/class', oneHot(labels, CLASSES)],
      ]),
    };
  },
  torch: { model: 'resnet', numClasses: CLASSES, blocksPerStage: BLOCKS_PER_STAGE },
};

const LSTM = { vocabularySize: 256, embeddingSize: 128, hiddenSize: 512, contextLength: 32 } as const;

export const lstm: Workload = {
  name: 'lstm',
  title: 'LSTM: embedding 128, 512 units, 32 bytes, vocabulary 256, batch 16',
  unit: 'tokens',
  unitsPerSample: LSTM.contextLength,
  batchSize: 16,
  stepsPerRound: 8,
  fields: [
    { name: 'byte_input', shape: [LSTM.contextLength], dtype: 'float32' },
    { name: 'target/next', shape: [LSTM.vocabularySize], dtype: 'float32' },
  ],
  flopsConvention: PRODUCTS_CONVENTION,
  build: () => compiled(lstmModel(LSTM)),
  flopsPerUnit: (model) => productFlops(model as tf.LayersModel) / LSTM.contextLength,
  batch(size, index): HostBatch {
    const [tokens, targets] = textBatch(size, index, LSTM.contextLength);
    const next = Array.from({ length: size }, (_, i) => targets[(i + 1) * LSTM.contextLength - 1] ?? 0);
    return {
      size,
      fields: new Map([
        ['byte_input', Float32Array.from(tokens)],
        ['target/next', oneHot(next, LSTM.vocabularySize)],
      ]),
    };
  },
  torch: { model: 'lstm', ...LSTM },
};
