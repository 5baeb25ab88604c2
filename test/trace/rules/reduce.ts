/** Reductions and matrix products. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { it } from 'vitest';
import { check, checkGradient, dims, property, random } from './harness.js';

export function reduceRules(): void {
  it('reductions', () => {
    const ops = [tf.sum, tf.mean, tf.max, tf.min, tf.prod];
    property(fc.tuple(dims(1, 4), fc.array(fc.nat(3), { maxLength: 3 }), fc.boolean()), ([shape, picks, keep]) => {
      const axes = picks.length === 0 ? undefined : [...new Set(picks.map((pick) => pick % shape.length))];
      for (const op of ops) {
        if (op === tf.prod && (axes?.length ?? shape.length) < 1) continue;
        checkGradient((x) => op(x!, axes, keep), random(shape));
      }
      const bools = random(shape).greater(0.5);
      check(() => [tf.all(bools, axes, keep), tf.any(bools, axes, keep), tf.sum(bools, axes, keep)]);
      const axis = (picks[0] ?? 0) % shape.length;
      check(() => [tf.argMax(random(shape), axis), tf.argMin(random(shape), axis - shape.length)]);
      check(() => tf.cumsum(random(shape), axis, keep, !keep));
      // tfjs's gradient of cumsum transposes wrongly on any axis but the last.
      checkGradient((x) => tf.cumsum(x!, shape.length - 1, keep, !keep), random(shape));
      check(() => tf.cumprod(random(shape), axis));
    });
    check(() => tf.bincount(tf.tensor1d([1, 2, 2], 'int32'), tf.ones([3]), 4));
    check(() =>
      tf.denseBincount(
        tf.tensor2d(
          [
            [1, 2],
            [0, 1],
          ],
          [2, 2],
          'int32',
        ),
        tf.tensor2d([], [0, 0]),
        3,
      ),
    );
  });

  it('matrix products', () => {
    const sizes = fc.tuple(dims(1, 1), dims(3, 3), fc.boolean(), fc.boolean(), fc.boolean());
    property(sizes, ([[batch], [m, k, n], transposeA, transposeB, broadcast]) => {
      const a = random([broadcast ? 1 : batch!, ...(transposeA ? [k!, m!] : [m!, k!])]);
      const b = random([batch!, ...(transposeB ? [n!, k!] : [k!, n!])]);
      check(() => tf.matMul(a, b, transposeA, transposeB));
      if (!broadcast) checkGradient((x, y) => tf.matMul(x!, y!, transposeA, transposeB), a, b);
      check(() =>
        tf.fused.matMul({ a: random([m!, k!]), b: random([k!, n!]), bias: random([n!]), activation: 'relu' }),
      );
      check(() => tf.einsum('bij,bjk->bik', random([batch!, m!, k!]), random([batch!, k!, n!])));
      check(() => tf.einsum('ij->ji', random([m!, k!])));
      check(() => tf.einsum('i,i->', random([m!]), random([m!])));
    });
  });
}
