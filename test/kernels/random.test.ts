/** Dropout and random kernels: the same numbers in any layout, keyed by step and node, with the right distribution. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { setRandomContext } from '../../src/kernels/randomContext.js';
import { ensureKernels } from '../../src/kernels/register.js';
import { dropout, randomNormal, randomUniform, setStep } from '../../src/nn/random.js';
import { tensor } from './numeric.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});
afterEach(() => setStep(0, 0));

const draw = (attrs: tf.NamedAttrMap) =>
  tf.engine().runKernel<tf.Tensor>('MerakRandom', {}, { kind: 'uniform', a: 0, b: 1, node: 3, batchDim: -1, ...attrs });

describe('MerakRandom', () => {
  it('draws a piece exactly as the whole does', () => {
    const dims = fc.tuple(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 6 }),
    );
    fc.assert(
      fc.property(dims, fc.tuple(fc.nat(3), fc.nat(4), fc.nat(5)), (globalShape, starts) => {
        const offsets = starts.map((start, d) => start % globalShape[d]!);
        const shape = globalShape.map((dim, d) => dim - offsets[d]!);
        const whole = draw({ shape: globalShape, globalShape, offsets: [0, 0, 0] }) as tf.Tensor3D;
        const piece = draw({ shape, globalShape, offsets });
        expect(piece.arraySync()).toEqual(tf.slice(whole, offsets as [number, number, number]).arraySync());
      }),
      { numRuns: 30 },
    );
  });

  it('offsets the batch dim by the micro-batch', () => {
    const whole = draw({ shape: [6, 3], globalShape: [6, 3], offsets: [0, 0], batchDim: 0 }) as tf.Tensor2D;
    setRandomContext({ microBatch: 2 });
    const third = draw({ shape: [2, 3], globalShape: [6, 3], offsets: [0, 0], batchDim: 0 });
    expect(third.arraySync()).toEqual(tf.slice(whole, [4, 0], [2, 3]).arraySync());
  });

  it('draws anew each step, and for each node', () => {
    const at = (step: number, node: number) => {
      setStep(step);
      return randomUniform([8], 0, 1, { node }).dataSync().join();
    };
    expect(at(1, 0)).toBe(at(1, 0));
    expect(new Set([at(1, 0), at(2, 0), at(1, 1)]).size).toBe(3);
  });

  it('has the moments of its distribution', () => {
    const normal = tf.moments(randomNormal([20000], 3, 2));
    expect(normal.mean.dataSync()[0]).toBeCloseTo(3, 1);
    expect(Math.sqrt(normal.variance.dataSync()[0]!)).toBeCloseTo(2, 1);
    const uniform = randomUniform([20000], -1, 3);
    expect(tf.mean(uniform).dataSync()[0]).toBeCloseTo(1, 1);
    expect(tf.min(uniform).dataSync()[0]).toBeGreaterThanOrEqual(-1);
    expect(tf.max(uniform).dataSync()[0]).toBeLessThan(3);
  });
});

describe('MerakDropout', () => {
  it('keeps, scales, and passes gradients through what it kept', () => {
    const x = tf.ones([100, 40]);
    const y = dropout(x, { rate: 0.25, training: true, node: 5 }).dataSync();
    expect(new Set(y)).toEqual(new Set([0, Math.fround(1 / 0.75)]));
    expect(y.filter((v) => v === 0).length / y.length).toBeCloseTo(0.25, 1);
    const gradient = tf
      .grad((z: tf.Tensor) => dropout(z, { rate: 0.25, training: true, node: 5 }))(x)
      .dataSync();
    expect(Array.from(gradient)).toEqual(Array.from(y));
  });

  it('is the identity outside training and at rate 0', () => {
    const x = tensor([2, 2]);
    expect(dropout(x, { rate: 0.5, training: false })).toBe(x);
    expect(dropout(x, { rate: 0, training: true })).toBe(x);
    expect(() => dropout(x, { rate: 1, training: true })).toThrow(/config\/invalid/);
  });
});
