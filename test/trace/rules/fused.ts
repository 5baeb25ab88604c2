/** Normalisation, images, and Merak's own kernels. */
import * as tf from '@tensorflow/tfjs';
import { it } from 'vitest';
import { check, checkGradient, random } from './harness.js';

export function fusedRules(): void {
  it('normalisation and images', () => {
    const x = random([2, 4, 4, 3]);
    const channel = () => random([3]);
    checkGradient(
      (a, mean, variance) =>
        tf.batchNorm(
          a!,
          mean as tf.Tensor1D,
          variance as tf.Tensor1D,
          channel() as tf.Tensor1D,
          channel() as tf.Tensor1D,
        ),
      x,
      channel(),
      channel(),
    );
    checkGradient((a) => tf.localResponseNormalization(a as tf.Tensor4D), x);
    checkGradient((a) => tf.image.resizeBilinear(a as tf.Tensor4D, [3, 5]), x);
    checkGradient((a) => tf.image.resizeNearestNeighbor(a as tf.Tensor4D, [8, 8]), x);
    check(() => [tf.image.flipLeftRight(x as tf.Tensor4D), tf.image.rotateWithOffset(x as tf.Tensor4D, 0.5)]);
    const boxes = tf.tensor2d([[0, 0, 1, 1]]);
    check(() => tf.image.cropAndResize(x as tf.Tensor4D, boxes, tf.tensor1d([0], 'int32'), [2, 2]));
    check(() =>
      tf.image.transform(x as tf.Tensor4D, tf.tensor2d([[1, 0, 0, 0, 1, 0, 0, 0]]), 'nearest', 'constant', 0, [2, 3]),
    );
    check(() => tf.multinomial(tf.tensor2d([[0.5, 0.5]]), 4));
  });

  it("Merak's own kernels, against their reference composites", () => {
    const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap = {}) =>
      tf.engine().runKernel<tf.Tensor | tf.Tensor[]>(kernel, inputs, attrs);
    const placement = { node: 0, globalShape: [2, 3], offsets: [0, 0], batchDim: 0 };
    check(() => {
      const [q, k, v] = [random([2, 3, 2, 4]), random([2, 5, 2, 4]), random([2, 5, 2, 4])];
      const attrs = { causal: false, scale: 0.5 };
      const [out, logsumexp] = run('MerakAttention', { q, k, v }, attrs) as [tf.Tensor, tf.Tensor];
      run('MerakAttentionGrad', { dy: out, q, k, v, out, logsumexp }, attrs);
      const [x, gamma] = [random([2, 3, 4]), random([4])];
      const packed = { ...attrs, headShape: [1, 3, 2, 4] };
      const [qkv, sums] = [random([1, 3, 24]), random([1, 2, 3])];
      run('MerakPackedAttention', { qkv }, packed);
      run('MerakPackedAttentionGrad', { dy: random([1, 3, 8]), out: random([1, 3, 8]), logsumexp: sums, qkv }, packed);
      run('MerakColumnSum', { x: random([2, 3, 4]) });
      const [, mean, rstd] = run('MerakLayerNorm', { x, gamma, beta: gamma }, { epsilon: 1e-5 }) as tf.Tensor[];
      run('MerakLayerNormGrad', { dy: x, x, gamma, mean: mean!, rstd: rstd! });
      const batch = { epsilon: 1e-5, activation: 'relu', residual: true };
      const normed = run('MerakBatchNorm', { x, gamma, beta: gamma, residual: x }, batch) as tf.Tensor[];
      run('MerakBatchNormGrad', { dy: x, x, gamma, mean: normed[1]!, variance: normed[2]!, y: normed[0]! }, batch);
      run('MerakGelu', { x }, { approximate: 'tanh' });
      run('MerakGeluGrad', { dy: x, x }, { approximate: 'none' });
      const [logits, labels, rows] = [random([3, 5]), tf.tensor1d([0, 4, -1], 'int32'), random([3])];
      const vocabulary = { vocabOffset: 0, vocabLimit: 5 };
      run('MerakSoftmaxCrossEntropy', { logits, labels }, vocabulary);
      run('MerakSoftmaxCrossEntropyGrad', { dy: rows, logits, labels, logsumexp: rows }, vocabulary);
      run('MerakShardedCrossEntropy', { logits, labels, max: rows }, vocabulary);
      const ids = tf.zeros([2, 3], 'int32');
      run('MerakEmbedding', { table: random([5, 4]), ids }, { vocabOffset: 0, sharded: false });
      run('MerakEmbeddingGrad', { dy: random([2, 3, 4]), ids }, { vocabSize: 5, vocabOffset: 0, sharded: false });
      const [left, right] = [random([2, 3, 4]), random([4, 5])];
      const outputShape = [2, 3, 5];
      run('MerakProduct', { a: left, b: right, bias: random([5]), residual: random(outputShape) }, { outputShape });
      const [a, scales] = [run('MerakQuantise', { x: random([3, 4]) }, { scale: 0.01 }) as tf.Tensor, random([5])];
      const b = run('MerakQuantise', { x: random([4, 5]) }, { scale: 0.01 }) as tf.Tensor;
      run('MerakQuantisedMatMul', { a, b, scales }, { activation: 'relu' });
      run('MerakQuantisedMatMul', { a, b, scales, bias: scales }, { outputScale: 0.1 });
      const product = { a: random([4, 6]), b: random([6, 5]), bias: random([5]) };
      run('MerakProduct', { ...product, residual: random([2, 2, 5]) }, { outputShape: [2, 2, 5] });
      run('MerakProduct', product, { outputShape: [2, 2, 5], activatedShape: [4, 5], gelu: 'tanh' });
      run('MerakDropout', { x: random([2, 3]) }, { rate: 0.5, ...placement });
      run('MerakRandom', {}, { shape: [2, 3], kind: 'normal', a: 0, b: 1, ...placement });
      run('MerakShard', { x: random([2, 5]) }, { axis: 'tp', dim: 1, parts: 1, paddedSize: 6, degree: 2, index: 0 });
      const scattered = { axis: 'tp', dim: 1, parts: 3, paddedSize: 6, degree: 2, index: 1 };
      run('MerakReduceScatter', { x: random([2, 6]) }, scattered);
      run('MerakReduceScatterStart', { x: random([2, 6]) }, scattered);
      run('MerakAllReduceStart', { x: random([2, 5]) }, { axis: 'tp', op: 'sum' });
      run('MerakAllGatherStart', { x: random([2, 5]) }, { axis: 'tp', dim: 1, parts: 1, size: 5, degree: 1, index: 0 });
      run('MerakWait', { x: random([2, 5]), source: random([2, 5]) }, { axis: 'tp' });
    });
  });
}
