/** Cleaning passes: splitting fused kernels, folding, merging, simplifying; models come out the same. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { graphBuilder } from '../../../src/graph/builder.js';
import { eliminateDeadNodes } from '../../../src/graph/clean.js';
import { commonSubexpressions } from '../../../src/graph/passes/commonSubexpressions.js';
import { foldConstants } from '../../../src/graph/passes/foldConstants.js';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { simplify } from '../../../src/graph/passes/simplify.js';
import { splitFused } from '../../../src/graph/passes/splitFused.js';
import { gpt } from '../../../src/models/gpt.js';
import { setStep } from '../../../src/nn/random.js';
import { traceModel } from '../../../src/trace/trace.js';
import { close, tensor } from '../../kernels/numeric.js';
import { kernels, optimized, run, trace } from './parity.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe('splitFused', () => {
  const [a, b, bias] = [tensor([3, 4], 1), tensor([4, 5], 2), tensor([5], 3)];

  it.each(['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'leakyrelu', 'prelu'] as const)(
    'splits a matMul with %s',
    (activation) => {
      const alpha = tensor([5], 4);
      const f = (x: tf.Tensor) =>
        tf.fused.matMul({
          a: x as tf.Tensor2D,
          b: b as tf.Tensor2D,
          bias,
          activation,
          preluActivationWeights: alpha,
          leakyreluAlpha: 0.3,
        });
      const graph = trace((x) => f(x!), [a]);
      expect(kernels(graph)).toContain('_FusedMatMul');
      const split = splitFused(graph);
      expect(kernels(split)).not.toContain('_FusedMatMul');
      close(run(split, [a]), f(a).dataSync(), 1e-5);
      const simple = kernels(eliminateDeadNodes(simplify(split)));
      expect(simple.slice(0, 2)).toEqual(['BatchMatMul', 'Add']);
      expect(simple.length).toBe(activation === 'linear' ? 2 : 3);
    },
  );

  it('keeps the batch of a batched matMul', () => {
    const x = tensor([2, 3, 4], 1);
    const w = tensor([2, 5, 4], 2);
    const f = (y: tf.Tensor) =>
      tf.fused.matMul({ a: y as tf.Tensor3D, b: w as tf.Tensor3D, transposeB: true, activation: 'relu' });
    const split = splitFused(trace((y) => f(y!), [x]));
    expect(kernels(split)).toEqual(expect.arrayContaining(['BatchMatMul', 'Relu']));
    close(run(split, [x]), f(x).dataSync(), 1e-5);
  });

  it('splits convolutions', () => {
    const x = tensor([2, 5, 5, 3], 1) as tf.Tensor4D;
    const filter = tensor([3, 3, 3, 4], 2) as tf.Tensor4D;
    const deep = tensor([3, 3, 3, 2], 2) as tf.Tensor4D;
    const conv = (y: tf.Tensor) =>
      tf.fused.conv2d({
        x: y as tf.Tensor4D,
        filter,
        strides: 2,
        pad: 'same',
        bias: tensor([4], 3),
        activation: 'relu',
      });
    const depthwise = (y: tf.Tensor) =>
      tf.fused.depthwiseConv2d({
        x: y as tf.Tensor4D,
        filter: deep,
        strides: 1,
        pad: 'valid',
        bias: tensor([6], 3),
        activation: 'elu',
      });
    for (const [f, kernel] of [
      [conv, 'Conv2D'],
      [depthwise, 'DepthwiseConv2dNative'],
    ] as const) {
      const split = splitFused(trace((y) => f(y!), [x]));
      expect(kernels(split)).toContain(kernel);
      expect(kernels(split).some((name) => name.startsWith('Fused'))).toBe(false);
      close(run(split, [x]), f(x).dataSync(), 1e-5);
    }
  });
});

describe('simplify', () => {
  it('drops no-ops and merges views', () => {
    const x = tensor([2, 3, 4]);
    const f = (y: tf.Tensor) =>
      tf.transpose(
        tf.transpose(tf.reshape(tf.reshape(tf.add(tf.mul(y.toFloat(), 1), 0), [6, 4]), [2, 3, 4]), [1, 2, 0]),
        [2, 0, 1],
      );
    expect(kernels(optimized((y) => f(y!), [x]))).toEqual([]);
  });

  it('keeps an addition that broadcasts', () => {
    const graph = optimized((y) => tf.add(y!, tf.zeros([3, 1])), [tensor([4])]);
    expect(kernels(graph)).toEqual(['Add']);
  });
});

describe('foldConstants', () => {
  it('evaluates what constants feed', () => {
    const graph = optimized((y) => tf.mul(y!, tf.sqrt(tf.div(tf.scalar(2), Math.PI))), [tensor([4])]);
    expect(kernels(graph)).toEqual(['Multiply']);
  });

  it('leaves large results computed', () => {
    const graph = trace((y) => tf.add(y!, tf.fill([70_000], 2)), [tensor([1])]);
    expect(kernels(foldConstants(graph))).toEqual(['Fill', 'Add']);
  });
});

describe('commonSubexpressions', () => {
  it('computes once', () => {
    const graph = optimized((y) => tf.add(tf.exp(tf.mul(y!, 2)), tf.exp(tf.mul(y!, 2))), [tensor([4])]);
    expect(kernels(graph)).toEqual(['Multiply', 'Exp', 'Add']);
  });

  it('keeps every dropout', () => {
    const builder = graphBuilder();
    const x = builder.addInput('x', { shape: [2], dtype: 'float32' });
    const attrs = { rate: 0.5, node: 0, globalShape: [2], offsets: [0], batchDim: -1 };
    const dropped = [0, 1].map(
      () =>
        builder.addNode({
          kernel: 'MerakDropout',
          inputs: [x],
          inputNames: ['x'],
          outputs: [{ shape: [2], dtype: 'float32' }],
          attrs,
        })[0]!,
    );
    const [y] = builder.addNode({
      kernel: 'Add',
      inputs: dropped,
      inputNames: ['a', 'b'],
      outputs: [{ shape: [2], dtype: 'float32' }],
    });
    builder.addOutput('y', y!);
    const graph = builder.build();
    expect(commonSubexpressions(graph)).toBe(graph);
  });
});

describe('optimizeGraph', () => {
  it('leaves the fused kernels of a GPT alone, and its loss', () => {
    const config = { vocabularySize: 11, contextLength: 6, numLayers: 2, numHeads: 2, hiddenSize: 8, dropout: 0.2 };
    const model = gpt(config);
    const fields = ['tokens', 'targets'].map((name) => ({ name, shape: [6], dtype: 'int32' as const }));
    const { graph, variables } = traceModel(model, 'train', fields, 2);
    const after = optimizeGraph(graph);
    const count = (kernel: string) => kernels(after).filter((name) => name === kernel).length;
    expect([count('MerakAttention'), count('MerakLayerNorm'), count('MerakGelu'), count('MerakDropout')]).toEqual([
      2, 5, 2, 5,
    ]);
    expect(after.nodes.length).toBeLessThanOrEqual(graph.nodes.length);
    const ids = tf.tensor2d(
      Array.from({ length: 12 }, (_, i) => (5 * i) % 11),
      [2, 6],
      'int32',
    );
    close(run(after, [ids, ids], variables), run(graph, [ids, ids], variables), 1e-6);
    setStep(0); // Numbers the dropouts of the call below from 0, as the trace did.
    close(
      run(after, [ids, ids], variables),
      model.loss({ tokens: ids, targets: ids }, { training: true }).dataSync(),
      1e-6,
    );
    model.dispose();
  });

  it('raises a tf.layers transformer classifier', () => {
    const input = tf.input({ shape: [4], dtype: 'int32' });
    const embedded = tf.layers.embedding({ inputDim: 7, outputDim: 6 }).apply(input) as tf.SymbolicTensor;
    const normed = tf.layers.layerNormalization().apply(embedded) as tf.SymbolicTensor;
    const dense = tf.layers.dense({ units: 5, activation: 'relu' }).apply(normed) as tf.SymbolicTensor;
    const flat = tf.layers.flatten().apply(dense) as tf.SymbolicTensor;
    const output = tf.layers.dense({ units: 3, activation: 'softmax' }).apply(flat) as tf.SymbolicTensor;
    const model = tf.model({ inputs: input, outputs: output });
    model.compile({ optimizer: 'sgd', loss: 'sparseCategoricalCrossentropy' });
    const fields = [
      { name: model.inputNames[0]!, shape: [4], dtype: 'int32' as const },
      { name: `target/${model.outputNames[0]}`, shape: [1], dtype: 'float32' as const },
    ];
    const { graph, variables } = traceModel(model, 'train', fields, 2);
    const after = optimizeGraph(graph);
    expect(kernels(after)).toEqual(
      expect.arrayContaining(['MerakEmbedding', 'MerakLayerNorm', 'BatchMatMul', 'MerakSoftmaxCrossEntropy']),
    );
    for (const gone of ['_FusedMatMul', 'FusedBatchNorm', 'Tile', 'OneHot']) expect(kernels(after)).not.toContain(gone);
    const x = tf.tensor2d([1, 2, 3, 4, 5, 6, 0, 1], [2, 4], 'int32');
    const y = tf.tensor2d([2, 0], [2, 1]);
    close(run(after, [x, y], variables), run(graph, [x, y], variables), 1e-5);
  });
});
