/** Cutting and joining shards: laws over any shape, dim and number of workers. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { flatten } from '../../../src/api/jit/tree.js';
import {
  joinShards,
  localShape,
  placementsOf,
  rangeOf,
  replicate,
  shard,
  takeRange,
} from '../../../src/api/spmd/placement.js';
import { balancedRange, type ShardContext, totalOf } from '../../../src/kernels/shardContext.js';

const shards = fc.integer({ min: 1, max: 9 });

it('balanced ranges follow one another, cover everything, and differ by one row at most', () => {
  fc.assert(
    fc.property(fc.nat(200), shards, (total, numShards) => {
      const ranges = Array.from({ length: numShards }, (_, index) => balancedRange(total, numShards, index));
      expect(ranges[0]!.begin).toBe(0);
      expect(ranges.at(-1)!.end).toBe(total);
      const sizes = ranges.map(({ begin, end }) => end - begin);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      expect(sizes).toEqual([...sizes].sort((a, b) => b - a));
      for (const [index, { end }] of ranges.slice(0, -1).entries()) expect(ranges[index + 1]!.begin).toBe(end);
    }),
  );
});

it('shards join to the whole', () => {
  const shapes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(shapes, fc.nat(3), shards, (shape, anyDim, anyShards) => {
      const dim = anyDim % shape.length;
      const numShards = Math.min(anyShards, shape[dim]!);
      const data = Int32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i * 7 + 1);
      const placement = shard(dim);
      const ranges = Array.from({ length: numShards }, (_, i) => rangeOf(placement, shape, numShards, i, 'x')!);
      const pieces = ranges.map((range) => takeRange(data, shape, dim, range));
      // tfjs's slice as reference.
      const whole = tf.tensor(data, shape, 'int32');
      const { begin } = ranges.at(-1)!;
      const start = shape.map((_, d) => (d === dim ? begin : 0));
      expect(Array.from(pieces.at(-1)!)).toEqual(Array.from(tf.slice(whole, start).dataSync()));
      const joined = joinShards(
        pieces,
        ranges.map((range) => localShape(shape, placement, range)),
        dim,
      );
      expect(joined.shape).toEqual(shape);
      expect(Array.from(joined.data)).toEqual(Array.from(data));
    }),
  );
});

it('the whole extent is told from a part of it, when only one fits', () => {
  const context = (index: number, ...totals: number[]): ShardContext => ({
    numShards: 4,
    index,
    totals: new Set(totals),
  });
  expect(totalOf('allGather', 3, context(0, 10))).toBe(10);
  expect(totalOf('allGather', 2, context(3, 10))).toBe(10);
  expect(totalOf('allGather', 5, context(3, 10))).toBe(20);
  expect(() => totalOf('allGather', 3, context(0, 10, 12))).toThrow(/one of 10, 12/);
  expect(totalOf('allGather', 2, context(3, 10, 12))).toBe(10);
});

it('placements follow the structure of the value', () => {
  const value = [tf.scalar(1), { a: tf.scalar(2), b: [tf.scalar(3), 4, tf.scalar(5)] }];
  const { tree } = flatten(value, 'arguments');
  const [one, two] = [shard(1), shard(2)];
  expect(placementsOf(undefined, tree, 'x')).toEqual([replicate, replicate, replicate, replicate]);
  expect(placementsOf(one, tree, 'x')).toEqual([one, one, one, one]);
  expect(placementsOf([one, { b: two }], tree, 'x')).toEqual([one, replicate, two, two]);
  expect(placementsOf([undefined, { b: [one, undefined, two] }], tree, 'x')).toEqual([replicate, replicate, one, two]);
  expect(() => placementsOf([one, { c: two }], tree, 'x')).toThrow(/one of a, b/);
  expect(() => placementsOf([one, one, one], tree, 'x')).toThrow(/2 items/);
  expect(() => placementsOf([[one]], tree, 'x')).toThrow(/config\/invalid/);
  expect(() => shard(-1)).toThrow(/config\/invalid/);
});
