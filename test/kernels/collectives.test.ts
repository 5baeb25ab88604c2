/** Collective kernels: sharding and merging are inverse, gradients call the transposed collective. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { setCollectives } from '../../src/kernels/collectives.js';
import { ensureKernels } from '../../src/kernels/register.js';
import { mergeShards, takeShard } from '../../src/kernels/shards.js';
import { tensor } from './numeric.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});
afterEach(() => setCollectives(null));

const run = (kernel: string, x: tf.Tensor, attrs: tf.NamedAttrMap) =>
  tf.engine().runKernel<tf.Tensor>(kernel, { x }, attrs);

describe('shards', () => {
  it('merge back to the whole, padded or in parts', () => {
    const cases = fc.record({
      degree: fc.integer({ min: 1, max: 4 }),
      parts: fc.integer({ min: 1, max: 3 }),
      piece: fc.integer({ min: 1, max: 3 }),
      padding: fc.nat(2),
      dim: fc.nat(1),
    });
    fc.assert(
      fc.property(cases, ({ degree, parts, piece, padding, dim }) => {
        const paddedSize = degree * parts * piece;
        const size = parts === 1 ? Math.max(1, paddedSize - padding) : paddedSize;
        const shape = [3, 3];
        shape[dim] = size;
        const x = tensor(shape);
        const shards = Array.from({ length: degree }, (_, index) =>
          takeShard(x, dim, parts, paddedSize, degree, index),
        );
        expect(mergeShards(shards, dim, parts, size).arraySync()).toEqual(x.arraySync());
      }),
      { numRuns: 40 },
    );
  });

  it('gives every rank a piece of each part', () => {
    const x = tf.tensor1d([0, 1, 2, 3, 10, 11, 12, 13]);
    expect(Array.from(takeShard(x, 0, 2, 8, 2, 1).dataSync())).toEqual([2, 3, 12, 13]);
    expect(() => takeShard(x, 0, 3, 9, 2, 0)).toThrow(/engine\/kernel/);
  });
});

describe('collectives', () => {
  it('reach the other ranks through the host', () => {
    setCollectives({
      allReduce: (x, axis, op) => tf.mul(x, op === 'sum' && axis === 'tp' ? 2 : 1),
      gather: (x) => [x, tf.neg(x)],
    });
    const x = tf.tensor1d([1, 2, 3]);
    expect(Array.from(run('MerakAllReduce', x, { axis: 'tp', op: 'sum' }).dataSync())).toEqual([2, 4, 6]);
    expect(Array.from(run('MerakAllReduce', x, { axis: 'tp', op: 'max' }).dataSync())).toEqual([1, 2, 3]);
    const attrs = { axis: 'tp', dim: 0, parts: 1, size: 5 };
    expect(Array.from(run('MerakAllGather', x, attrs).dataSync())).toEqual([1, 2, 3, -1, -2]);
  });

  it('differentiate to one another', () => {
    setCollectives({ allReduce: (x) => tf.mul(x, 2), gather: (x) => [x, tf.mul(x, 10)] });
    const x = tf.tensor1d([1, 2, 3]);
    const gradient = (f: (x: tf.Tensor) => tf.Tensor, dy: tf.Tensor) => Array.from(tf.grad(f)(x, dy).dataSync());
    expect(gradient((y) => run('MerakFanOut', y, { axis: 'tp' }), tf.tensor1d([1, 1, 5]))).toEqual([2, 2, 10]);
    expect(gradient((y) => run('MerakAllReduce', y, { axis: 'tp', op: 'sum' }), tf.tensor1d([1, 1, 5]))).toEqual([
      1, 1, 5,
    ]);
    const gather = { axis: 'tp', dim: 0, parts: 1, size: 5, degree: 2, index: 1 };
    expect(gradient((y) => run('MerakAllGather', y, gather), tf.tensor1d([1, 2, 3, 4, 5]))).toEqual([4, 5, 0]);
    const shard = { axis: 'tp', dim: 0, parts: 1, paddedSize: 4, degree: 2, index: 0 };
    expect(gradient((y) => run('MerakShard', y, shard), tf.tensor1d([7, 8]))).toEqual([7, 8, 70]);
  });

  it('give the gradient of a maximum to those who hold it', () => {
    // The other rank holds [4, 2, 1].
    const other = tf.tensor1d([4, 2, 1]);
    const holds = (y: tf.Tensor) => tf.cast(tf.equal(y, tf.tensor1d([4, 2, 3])), 'float32');
    setCollectives({
      allReduce: (x, _axis, op) => (op === 'max' ? tf.maximum(x, other) : tf.add(x, holds(other))),
      gather: (x) => [x],
    });
    const maximum = (y: tf.Tensor) => run('MerakAllReduce', y, { axis: 'dp', op: 'max' });
    const found = tf.grad(maximum)(tf.tensor1d([1, 2, 3]), tf.tensor1d([5, 6, 7]));
    expect(Array.from(found.dataSync())).toEqual([0, 3, 7]);
  });
});
