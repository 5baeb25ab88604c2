/** merak.nn: dense, variables and the checks of arguments. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { dense } from '../../src/nn/dense.js';
import { embedding } from '../../src/nn/embedding.js';
import { layerNorm } from '../../src/nn/layerNorm.js';
import { dropout, setStep } from '../../src/nn/random.js';
import { softmaxCrossEntropy } from '../../src/nn/softmaxCrossEntropy.js';
import { setInitialValue, variable } from '../../src/nn/variable.js';
import { checkGradient, close, tensor } from '../kernels/numeric.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe('dense', () => {
  it('multiplies the last dim, for any rank', () => {
    const [w, b] = [tensor([4, 5], 2), tensor([5], 3)];
    for (const shape of [[4], [2, 4], [2, 3, 4]]) {
      const x = tensor(shape, 1);
      const expected = tf
        .add(tf.matMul(x.reshape([-1, 4]) as tf.Tensor2D, w as tf.Tensor2D), b)
        .reshape([...shape.slice(0, -1), 5]);
      expect(dense(x, w, b).shape).toEqual(expected.shape);
      close(dense(x, w, b).dataSync(), expected.dataSync(), 1e-6);
    }
    checkGradient((...[x, v, c]) => dense(x!, v!, c!), [tensor([2, 2, 4]), w, b]);
  });

  it('names what does not fit', () => {
    expect(() => dense(tensor([2, 3]), tensor([4, 5]))).toThrow(/w has the wrong shape/);
    expect(() => dense(tensor([2, 4]), tensor([4, 5]), tensor([4]))).toThrow(/expected: \[5\]/);
  });
});

describe('variable', () => {
  it('is a function of seed and name', () => {
    const init = { kind: 'normal', mean: 0, stddev: 1 } as const;
    const make = (name: string, seed: number) => variable(name, [3, 4], init, { seed });
    const [a, b, c, d] = [make('nn/a', 0), make('nn/a', 0), make('nn/b', 0), make('nn/a', 1)];
    const text = (v: tf.Variable) => v.dataSync().join();
    expect(text(a)).toBe(text(b));
    expect(new Set([a, c, d].map(text)).size).toBe(3);
    expect([a.name, b.name]).toEqual(['nn/a', 'nn/a_1']);
    tf.dispose([a, b, c, d]);
    expect(variable('nn/a', [1], init, { trainable: false }).trainable).toBe(false);
  });

  it('starts from what lazy building puts in its place', () => {
    const previous = setInitialValue((initializer, name, shape) => {
      expect([initializer.kind, name]).toEqual(['constant', 'nn/lazy']);
      return tf.fill([...shape], 7);
    });
    const v = variable('nn/lazy', [2], { kind: 'constant', value: 1 });
    setInitialValue(previous);
    expect(Array.from(v.dataSync())).toEqual([7, 7]);
  });
});

describe('arguments', () => {
  it('are checked where they are given', () => {
    expect(() => embedding(tensor([3, 2]), tensor([2]))).toThrow(/toInt/);
    expect(() => softmaxCrossEntropy(tensor([3, 2]), tf.zeros([2], 'int32'))).toThrow(/labels has the wrong shape/);
    expect(() => layerNorm(tensor([3, 2]), tensor([3]), tensor([2]))).toThrow(/gamma/);
  });
});

describe('dropout', () => {
  it('numbers its calls from each step on', () => {
    const x = tf.ones([64]);
    const draw = () => [0, 1].map(() => dropout(x, { rate: 0.5, training: true }).dataSync().join());
    setStep(4);
    const first = draw();
    setStep(4);
    expect(draw()).toEqual(first);
    expect(first[0]).not.toBe(first[1]);
    setStep(0);
  });
});
