/** LayerNorm, gelu, cross-entropy and embedding kernels against their definitions and finite differences. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureKernels } from '../../src/kernels/register.js';
import { embedding } from '../../src/nn/embedding.js';
import { gelu } from '../../src/nn/gelu.js';
import { layerNorm } from '../../src/nn/layerNorm.js';
import { softmaxCrossEntropy } from '../../src/nn/softmaxCrossEntropy.js';
import { checkGradient, close, tensor, values } from './numeric.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const run = <T extends tf.Tensor | tf.Tensor[]>(kernel: string, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap): T =>
  tf.engine().runKernel<T>(kernel, inputs, attrs);

describe('MerakBatchNorm', () => {
  it.each([
    ['linear', false],
    ['relu', false],
    ['linear', true],
    ['relu', true],
  ])('has the gradient of finite differences: %s, residual %s', (activation, residual) => {
    const names = ['x', 'gamma', 'beta', ...(residual ? ['residual'] : [])];
    const weights = tensor([2, 3, 4], 9);
    checkGradient(
      (...inputs) => {
        const named = Object.fromEntries(names.map((name, i) => [name, inputs[i]!]));
        const [y] = run<tf.Tensor[]>('MerakBatchNorm', named, { epsilon: 1e-2, activation, residual });
        return tf.mul(y!, weights);
      },
      [tensor([2, 3, 4]), tensor([4], 2), tensor([4], 3), ...(residual ? [tensor([2, 3, 4], 5)] : [])],
    );
  });
});

describe('MerakLayerNorm', () => {
  it('normalises each row, for any shape', () => {
    const shapes = fc.tuple(fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 }), fc.integer({ min: 1, max: 9 }));
    fc.assert(
      fc.property(shapes, ([leading, width]) => {
        const x = tensor([...leading, width], 3);
        const [gamma, beta] = [values(width, 8), values(width, 9)];
        const [y, mean, rstd] = run<tf.Tensor[]>(
          'MerakLayerNorm',
          { x, gamma: tf.tensor(gamma), beta: tf.tensor(beta) },
          { epsilon: 1e-3 },
        );
        const data = x.dataSync();
        const expected = Float32Array.from(data);
        for (let row = 0; row < data.length / width; row++) {
          const cells = Array.from(data.slice(row * width, (row + 1) * width));
          const m = cells.reduce((a, b) => a + b, 0) / width;
          const variance = cells.reduce((a, b) => a + (b - m) ** 2, 0) / width;
          cells.forEach((cell, i) => {
            expected[row * width + i] = ((cell - m) / Math.sqrt(variance + 1e-3)) * gamma[i]! + beta[i]!;
          });
        }
        close(y!.dataSync(), expected, 1e-4);
        expect(mean!.shape).toEqual(leading);
        expect(rstd!.shape).toEqual(leading);
      }),
      { numRuns: 25 },
    );
  });

  it('has the gradient of finite differences', () => {
    checkGradient(
      (...[x, g, b]) => layerNorm(x!, g!, b!, 1e-3),
      [tensor([2, 3, 5]), tensor([5], 2), tensor([5], 3)],
      2e-2,
    );
    checkGradient((...[x, g, b]) => layerNorm(x!, g!, b!, 1e-3), [tensor([7]), tensor([7], 2), tensor([7], 3)], 2e-2);
  });
});

describe('MerakGelu', () => {
  it('is x Phi(x), and GPT-2 values by tanh', () => {
    const x = [-3, -1, -0.5, 0, 0.5, 1, 3];
    const exact = [-0.00404969, -0.15865525, -0.15426877, 0, 0.34573123, 0.84134475, 2.99595031];
    close(gelu(tf.tensor1d(x), 'none').dataSync(), exact, 1e-5);
    const byTanh = x.map((v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))));
    close(gelu(tf.tensor1d(x)).dataSync(), byTanh, 1e-5);
  });

  it.each(['tanh', 'none'] as const)('has the gradient of finite differences (%s)', (approximate) => {
    checkGradient((x) => gelu(x!, approximate), [tf.mul(tensor([3, 7]), 3)]);
  });

  it('rejects an unknown approximation', () => {
    expect(() => run('MerakGelu', { x: tensor([2]) }, { approximate: 'relu' })).toThrow(/engine\/kernel/);
  });
});

describe('MerakSoftmaxCrossEntropy', () => {
  const labels = tf.tensor1d([2, -1, 0, 6], 'int32');

  it('is -log softmax, 0 for ignored labels', () => {
    const logits = tf.mul(tensor([4, 7], 4), 5);
    const [loss, lse] = run<tf.Tensor[]>(
      'MerakSoftmaxCrossEntropy',
      { logits, labels },
      { vocabOffset: 0, vocabLimit: 7 },
    );
    const rows = logits.arraySync() as number[][];
    const expectedLse = rows.map((row) => Math.log(row.reduce((a, x) => a + Math.exp(x), 0)));
    const expected = [2, -1, 0, 6].map((label, i) => (label < 0 ? 0 : expectedLse[i]! - rows[i]![label]!));
    close(loss!.dataSync(), expected, 1e-5);
    close(lse!.dataSync(), expectedLse, 1e-5);
  });

  it('has the gradient of finite differences, none in ignored rows', () => {
    const logits = tf.mul(tensor([4, 7], 4), 2);
    checkGradient((x) => softmaxCrossEntropy(x!, labels), [logits]);
    const gradient = tf.grad((x: tf.Tensor) => tf.sum(softmaxCrossEntropy(x, labels)))(logits);
    expect(Array.from((gradient as tf.Tensor2D).slice([1, 0], [1, 7]).dataSync()).every((g) => g === 0)).toBe(true);
  });

  it('leaves padding columns out', () => {
    const logits = tensor([4, 9], 4);
    const attrs = { vocabOffset: 0, vocabLimit: 7 };
    const [padded] = run<tf.Tensor[]>('MerakSoftmaxCrossEntropy', { logits, labels }, attrs);
    const narrow = tf.slice(logits as tf.Tensor2D, [0, 0], [4, 7]);
    close(padded!.dataSync(), softmaxCrossEntropy(narrow, labels).dataSync(), 1e-6);
    const gradient = tf.grad((x: tf.Tensor) =>
      tf.sum(run<tf.Tensor[]>('MerakSoftmaxCrossEntropy', { logits: x, labels }, attrs)[0]!),
    )(logits);
    expect(Array.from(tf.slice(gradient as tf.Tensor2D, [0, 7], [4, 2]).dataSync())).toEqual(new Array(8).fill(0));
  });

  it('is the composition of its shards', () => {
    const whole = tensor([4, 7], 4);
    const expected = softmaxCrossEntropy(whole, labels).dataSync();
    const padded = tf.pad(
      whole,
      [
        [0, 0],
        [0, 1],
      ],
      9,
    );
    const shards = tf.split(padded, 2, 1);
    const max = tf.max(whole, 1);
    const sums = shards.map((logits, i) =>
      run<tf.Tensor[]>('MerakShardedCrossEntropy', { logits, labels, max }, { vocabOffset: 4 * i, vocabLimit: 4 - i }),
    );
    const [sumExp, target] = [tf.add(sums[0]![0]!, sums[1]![0]!), tf.add(sums[0]![1]!, sums[1]![1]!)];
    const loss = tf.sub(tf.add(tf.log(sumExp), max), target).dataSync();
    expected.forEach((value, i) => {
      if (i !== 1) expect(loss[i]).toBeCloseTo(value, 5);
    });
  });

  it('names a label out of range', () => {
    expect(() => softmaxCrossEntropy(tensor([1, 3]), tf.tensor1d([3], 'int32'))).toThrow(/\[0, 3\)/);
  });
});

describe('MerakEmbedding', () => {
  it('takes rows and sums gradients of repeated ids', () => {
    const table = tensor([5, 3]);
    const ids = tf.tensor2d([4, 0, 4, 1], [2, 2], 'int32');
    const rows = table.arraySync() as number[][];
    expect(embedding(table, ids).arraySync()).toEqual([
      [rows[4], rows[0]],
      [rows[4], rows[1]],
    ]);
    checkGradient((t) => embedding(t!, ids), [table]);
  });

  it('rejects ids outside a whole table; gives zeros outside a shard', () => {
    const table = tensor([5, 3]);
    expect(() => embedding(table, tf.tensor1d([5], 'int32'))).toThrow(/\[0, 5\)/);
    expect(() => embedding(table, tf.tensor1d([-1], 'int32'))).toThrow(/received: -1/);
    const ids = tf.tensor1d([0, 6, 9, 4], 'int32');
    const attrs = { vocabOffset: 4, sharded: true };
    const local = (t: tf.Tensor) => run<tf.Tensor>('MerakEmbedding', { table: t, ids }, attrs);
    const rows = table.arraySync() as number[][];
    expect(local(table).arraySync()).toEqual([[0, 0, 0], rows[2], [0, 0, 0], rows[0]]);
    checkGradient((t) => local(t!), [table]);
  });
});
