/** The reference composites on the WASM backend give what they give on the CPU backend. */
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import { describe, expect, it } from 'vitest';
import { ensureKernels, KERNELS } from '../../src/kernels/register.js';
import { close, tensor } from './numeric.js';

type Case = readonly [kernel: string, inputs: Record<string, () => tf.Tensor>, attrs: tf.NamedAttrMap];

const heads = (seed: number) => () => tensor([2, 3, 2, 4], seed);
const labels = () => tf.tensor1d([2, -1, 0, 5], 'int32');
const mask = () => tf.tensor2d([1, 1, 0, 1, 1, 1], [2, 3], 'int32');
const ids = () => tf.tensor1d([4, 0, 4], 'int32');
const place = { node: 1, globalShape: [4, 6], offsets: [0, 0], batchDim: 0 };
const attention = { causal: true, scale: 0.5 };
const rows = (seed: number) => () => tensor([4], seed);
const matrix = (seed: number) => () => tensor([4, 6], seed);

const scatter = { axis: 'tp', dim: 1, parts: 1, paddedSize: 6, degree: 1, index: 0 };

const CASES: readonly Case[] = [
  ['MerakAttention', { q: heads(1), k: heads(2), v: heads(3), mask }, attention],
  [
    'MerakAttentionGrad',
    { dy: heads(4), q: heads(1), k: heads(2), v: heads(3), out: heads(5), logsumexp: () => tensor([2, 2, 3], 6), mask },
    attention,
  ],
  ['MerakPackedAttention', { qkv: () => tensor([2, 3, 24], 1), mask }, { ...attention, headShape: [2, 3, 2, 4] }],
  [
    'MerakPackedAttentionGrad',
    {
      dy: () => tensor([2, 3, 8], 2),
      out: () => tensor([2, 3, 8], 3),
      logsumexp: () => tensor([2, 2, 3], 6),
      qkv: () => tensor([2, 3, 24], 1),
      mask,
    },
    { ...attention, headShape: [2, 3, 2, 4] },
  ],
  ['MerakColumnSum', { x: matrix(1) }, {}],
  ['MerakLayerNorm', { x: matrix(1), gamma: () => tensor([6], 2), beta: () => tensor([6], 3) }, { epsilon: 1e-5 }],
  [
    'MerakLayerNormGrad',
    { dy: matrix(4), x: matrix(1), gamma: () => tensor([6], 2), mean: rows(5), rstd: rows(6) },
    {},
  ],
  [
    'MerakLayerNormGrad',
    { dy: matrix(4), x: matrix(1), gamma: () => tensor([6], 2), mean: rows(5), rstd: rows(6), residual: matrix(7) },
    {},
  ],
  [
    'MerakBatchNorm',
    { x: matrix(1), gamma: () => tensor([6], 2), beta: () => tensor([6], 3), residual: matrix(4) },
    { epsilon: 1e-2, activation: 'relu', residual: true },
  ],
  [
    'MerakBatchNormGrad',
    {
      dy: matrix(1),
      x: matrix(2),
      gamma: () => tensor([6], 3),
      mean: () => tensor([6], 4),
      variance: () => tf.square(tensor([6], 5)),
      y: matrix(6),
    },
    { epsilon: 1e-2, activation: 'relu', residual: true },
  ],
  [
    'MerakProduct',
    { a: matrix(1), b: matrix(2), residual: () => tensor([6, 6], 3), point: () => tensor([6, 6], 4) },
    { transposeA: true, outputShape: [6, 6], gelu: 'tanh' },
  ],
  [
    'MerakProduct',
    { a: matrix(1), b: () => tensor([6, 5], 2), bias: () => tensor([5], 3), residual: () => tensor([4, 5], 4) },
    { outputShape: [4, 5] },
  ],
  [
    'MerakProduct',
    { a: matrix(1), b: () => tensor([6, 5], 2), bias: () => tensor([5], 3) },
    { outputShape: [2, 2, 5], activatedShape: [4, 5], gelu: 'tanh' },
  ],
  [
    'MerakProduct',
    { a: matrix(1), b: () => tensor([5, 6], 2), point: () => tensor([4, 5], 3) },
    { transposeB: true, outputShape: [4, 5], gelu: 'none' },
  ],
  ['MerakGelu', { x: matrix(1) }, { approximate: 'tanh' }],
  ['MerakGelu', { x: matrix(1) }, { approximate: 'none' }],
  ['MerakGeluGrad', { dy: matrix(2), x: matrix(1) }, { approximate: 'tanh' }],
  ['MerakGeluGrad', { dy: matrix(2), x: matrix(1) }, { approximate: 'none' }],
  ['MerakSoftmaxCrossEntropy', { logits: matrix(1), labels }, { vocabOffset: 0, vocabLimit: 6 }],
  [
    'MerakSoftmaxCrossEntropyGrad',
    { dy: rows(2), logits: matrix(1), labels, logsumexp: rows(3) },
    { vocabOffset: 0, vocabLimit: 5 },
  ],
  ['MerakShardedCrossEntropy', { logits: matrix(1), labels, max: rows(2) }, { vocabOffset: 3, vocabLimit: 5 }],
  ['MerakEmbedding', { table: () => tensor([5, 3], 1), ids }, { vocabOffset: 0, sharded: false }],
  ['MerakEmbedding', { table: () => tensor([3, 3], 1), ids }, { vocabOffset: 3, sharded: true }],
  ['MerakEmbeddingGrad', { dy: () => tensor([3, 3], 1), ids }, { vocabSize: 5, vocabOffset: 0, sharded: false }],
  ['MerakQuantise', { x: matrix(1) }, { scale: 0.01 }],
  [
    'MerakQuantisedMatMul',
    {
      a: () =>
        tf.tensor2d(
          [
            [127, -127, 3],
            [0, 5, -90],
          ],
          [2, 3],
          'int32',
        ),
      b: () =>
        tf.tensor2d(
          [
            [1, -127],
            [127, 2],
            [-4, 60],
          ],
          [3, 2],
          'int32',
        ),
      scales: () => tensor([2], 1),
      bias: () => tensor([2], 2),
    },
    { activation: 'gelu_tanh' },
  ],
  ['MerakDropout', { x: matrix(1) }, { rate: 0.4, ...place }],
  ['MerakRandom', {}, { shape: [4, 6], kind: 'normal', a: 0, b: 1, ...place }],
  ['MerakAllReduce', { x: matrix(1) }, { axis: 'tp', op: 'sum' }],
  ['MerakFanOut', { x: matrix(1) }, { axis: 'tp' }],
  ['MerakReduceScatter', { x: matrix(1) }, scatter],
  ['MerakReduceScatterStart', { x: matrix(1) }, scatter],
  ['MerakAllReduceStart', { x: matrix(1) }, { axis: 'tp', op: 'sum' }],
  ['MerakAllGatherStart', { x: matrix(1) }, { axis: 'tp', dim: 1, parts: 1, size: 6, degree: 1, index: 0 }],
  ['MerakWait', { x: matrix(1), source: matrix(2) }, { axis: 'tp' }],
  ['MerakAllGather', { x: matrix(1) }, { axis: 'tp', dim: 1, parts: 1, size: 5 }],
  ['MerakShard', { x: matrix(1) }, { axis: 'tp', dim: 0, parts: 1, paddedSize: 6, degree: 2, index: 1 }],
  [
    'MerakVocabParallelCrossEntropy',
    { logits: matrix(1), labels },
    { axis: 'tp', vocabOffset: 0, vocabLimit: 6, padded: false },
  ],
];

async function run(backend: string, [kernel, inputs, attrs]: Case): Promise<Float32Array[]> {
  await tf.setBackend(backend);
  ensureKernels(backend);
  return tf.tidy(() => {
    const tensors = Object.fromEntries(Object.entries(inputs).map(([name, make]) => [name, make()]));
    const result = tf.engine().runKernel<tf.Tensor | tf.Tensor[]>(kernel, tensors, attrs);
    return [result].flat().map((output) => Float32Array.from(output.dataSync()));
  });
}

describe('reference composites', () => {
  it.each(CASES)('%s is the same on wasm', async (...testCase) => {
    const [expected, actual] = [await run('cpu', testCase), await run('wasm', testCase)];
    expected.forEach((output, i) => {
      close(actual[i]!, output, 1e-5);
    });
  });

  it('are all covered', () => {
    expect(new Set(CASES.map(([kernel]) => kernel))).toEqual(new Set(KERNELS.map(({ kernel }) => kernel)));
  });
});
