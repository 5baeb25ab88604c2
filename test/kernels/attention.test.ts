/** MerakAttention against a loop over scalars, and its gradient against finite differences. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureKernels } from '../../src/kernels/register.js';
import { attention } from '../../src/nn/attention.js';
import { checkGradient, close, tensor } from './numeric.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

interface Case {
  B: number;
  Tq: number;
  Tk: number;
  h: number;
  d: number;
  causal: boolean;
  mask: number[] | null;
}

function naive(c: Case, q: Float32Array, k: Float32Array, v: Float32Array, scale: number) {
  const { B, Tq, Tk, h, d } = c;
  const out = new Float32Array(B * Tq * h * d);
  const logsumexp = new Float32Array(B * h * Tq);
  const at = (b: number, t: number, T: number, head: number) => ((b * T + t) * h + head) * d;
  for (let b = 0; b < B; b++)
    for (let head = 0; head < h; head++)
      for (let i = 0; i < Tq; i++) {
        const weights = Array.from({ length: Tk }, (_, j) => {
          if (c.causal && j > i + Tk - Tq) return 0;
          if (c.mask !== null && c.mask[b * Tk + j] === 0) return 0;
          let dot = 0;
          for (let e = 0; e < d; e++) dot += q[at(b, i, Tq, head) + e]! * k[at(b, j, Tk, head) + e]!;
          return Math.exp(scale * dot);
        });
        const total = weights.reduce((a, w) => a + w, 0);
        logsumexp[(b * h + head) * Tq + i] = Math.log(total);
        if (total === 0) continue;
        for (let j = 0; j < Tk; j++)
          for (let e = 0; e < d; e++)
            out[at(b, i, Tq, head) + e]! += (weights[j]! / total) * v[at(b, j, Tk, head) + e]!;
      }
  return { out, logsumexp };
}

const cases = fc.record({
  B: fc.integer({ min: 1, max: 2 }),
  Tq: fc.integer({ min: 1, max: 5 }),
  extra: fc.integer({ min: 0, max: 2 }),
  h: fc.integer({ min: 1, max: 3 }),
  d: fc.integer({ min: 1, max: 4 }),
  causal: fc.boolean(),
  masked: fc.boolean(),
  bits: fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 14, maxLength: 14 }),
});

describe('MerakAttention', () => {
  it('equals the definition for any shape and mask', () => {
    fc.assert(
      fc.property(cases, ({ extra, bits, masked, ...rest }) => {
        const Tk = rest.Tq + extra;
        const mask = masked ? bits.slice(0, rest.B * Tk) : null;
        const c: Case = { ...rest, Tk, mask };
        const q = tensor([c.B, c.Tq, c.h, c.d], 1);
        const k = tensor([c.B, Tk, c.h, c.d], 2);
        const v = tensor([c.B, Tk, c.h, c.d], 3);
        const inputs: tf.NamedTensorMap = { q, k, v };
        if (mask !== null) inputs.mask = tf.tensor2d(mask, [c.B, Tk], 'int32');
        const [out, lse] = tf
          .engine()
          .runKernel<tf.Tensor[]>('MerakAttention', inputs, { causal: c.causal, scale: 0.7 });
        const expected = naive(
          c,
          q.dataSync() as Float32Array,
          k.dataSync() as Float32Array,
          v.dataSync() as Float32Array,
          0.7,
        );
        close(out!.dataSync(), expected.out, 1e-5);
        close(lse!.dataSync(), expected.logsumexp, 1e-5);
        expect(lse!.shape).toEqual([c.B, c.h, c.Tq]);
      }),
      { numRuns: 40 },
    );
  });

  it('gives 0 and -inf for a row that sees nothing, and a finite gradient', () => {
    const x = tensor([1, 2, 1, 2]);
    const mask = tf.tensor2d([[0, 0]], [1, 2], 'int32');
    const [out, lse] = tf
      .engine()
      .runKernel<tf.Tensor[]>('MerakAttention', { q: x, k: x, v: x, mask }, { causal: false, scale: 1 });
    expect(Array.from(out!.dataSync())).toEqual([0, 0, 0, 0]);
    expect(Array.from(lse!.dataSync())).toEqual([-Infinity, -Infinity]);
    const gradient = tf.grad((y: tf.Tensor) => tf.sum(attention({ q: y, k: y, v: y, mask })))(x);
    expect(Array.from(gradient.dataSync())).toEqual([0, 0, 0, 0]);
  });

  it.each([
    { causal: false, mask: false },
    { causal: true, mask: false },
    { causal: true, mask: true },
  ])('has the gradient of finite differences: %o', ({ causal, mask }) => {
    const [q, k, v] = [tensor([2, 3, 2, 2], 4), tensor([2, 3, 2, 2], 5), tensor([2, 3, 2, 2], 6)];
    const padding = tf.tensor2d([1, 1, 0, 1, 1, 1], [2, 3], 'int32');
    checkGradient(
      (...[a, b, c]) => attention({ q: a!, k: b!, v: c!, causal, ...(mask ? { mask: padding } : {}) }),
      [q, k, v],
    );
  });

  it('rejects shapes that do not agree', () => {
    const x = tensor([1, 2, 1, 2]);
    expect(() => attention({ q: x, k: tensor([1, 2, 1, 3]), v: x })).toThrow(/config\/invalid/);
    expect(() => attention({ q: x, k: x, v: x, mask: tf.ones([1, 2]) })).toThrow(/int32/);
  });
});
