/** Cutting parameters into shards and back, beside tfjs's own slicing. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { takeShard } from '../../src/kernels/shards.js';
import type { Layout } from '../../src/tensorparallel/layout.js';
import { PARTIAL, REPLICATE } from '../../src/tensorparallel/layout.js';
import {
  describeLayout,
  localShape,
  mergeParameter,
  paddedTo,
  sliceParameter,
} from '../../src/tensorparallel/shards.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const piece = fc.record({
  degree: fc.integer({ min: 1, max: 4 }),
  parts: fc.integer({ min: 1, max: 3 }),
  unit: fc.integer({ min: 1, max: 3 }),
  outer: fc.integer({ min: 1, max: 3 }),
  inner: fc.integer({ min: 1, max: 3 }),
  short: fc.integer({ min: 0, max: 2 }),
});

function layoutOf({ degree, parts, unit, outer, inner, short }: Case): { shape: number[]; layout: Layout } {
  const whole = degree * parts * unit;
  const size = parts === 1 ? Math.max(1, whole - short) : whole;
  return { shape: [outer, size, inner], layout: { kind: 'shard', dim: 1, parts, paddedSize: paddedTo(whole, degree) } };
}

interface Case {
  degree: number;
  parts: number;
  unit: number;
  outer: number;
  inner: number;
  short: number;
}

describe('shards of a parameter', () => {
  it('merge back to the parameter, and are what MerakShard takes', () => {
    fc.assert(
      fc.property(piece, (drawn) => {
        const { shape, layout } = layoutOf(drawn);
        const data = Float32Array.from({ length: shape[0]! * shape[1]! * shape[2]! }, (_, i) => i + 1);
        const shards = Array.from({ length: drawn.degree }, (_, index) =>
          sliceParameter(data, shape, layout, drawn.degree, index),
        );
        expect(mergeParameter(shards, shape, layout)).toEqual(data);
        shards.forEach((shard, index) => {
          tf.tidy(() => {
            if (layout.kind !== 'shard') return;
            const taken = takeShard(tf.tensor(data, shape), 1, layout.parts, layout.paddedSize, drawn.degree, index);
            expect(taken.shape).toEqual(localShape(layout, shape, drawn.degree));
            expect(Float32Array.from(taken.dataSync())).toEqual(shard);
          });
        });
      }),
      { numRuns: 100 },
    );
  });

  it('keep their element type; replicated ones are copies', () => {
    const layout: Layout = { kind: 'shard', dim: 0, parts: 1, paddedSize: 4 };
    expect(sliceParameter(Int32Array.of(1, 2, 3), [3], layout, 2, 1)).toEqual(Int32Array.of(3, 0));
    expect(sliceParameter(Uint8Array.of(1, 0, 1, 1), [4], layout, 2, 0)).toEqual(Uint8Array.of(1, 0));
    const data = Float32Array.of(1, 2);
    const copy = sliceParameter(data, [2], REPLICATE, 2, 1);
    expect(copy).toEqual(data);
    expect(copy).not.toBe(data);
  });

  it('of an interleaved q|k|v weight hold a piece of each', () => {
    const layout: Layout = { kind: 'shard', dim: 0, parts: 3, paddedSize: 12 };
    const data = Int32Array.from({ length: 12 }, (_, i) => i);
    expect(sliceParameter(data, [12], layout, 2, 0)).toEqual(Int32Array.of(0, 1, 4, 5, 8, 9));
  });

  it('refuse layouts that do not fit, with the layout named', () => {
    const uneven: Layout = { kind: 'shard', dim: 0, parts: 1, paddedSize: 5 };
    expect(() => localShape(uneven, [5], 2)).toThrow(/layout\/illegal/);
    expect(() => localShape({ ...uneven, dim: 3 }, [5], 1)).toThrow(/no dim 3/);
    expect(() => localShape({ kind: 'shard', dim: 0, parts: 2, paddedSize: 8 }, [7], 2)).toThrow(/cannot be padded/);
    expect(() => mergeParameter([Float32Array.of(1), Float32Array.of(1)], [4], { ...uneven, paddedSize: 4 })).toThrow(
      /elements/,
    );
    expect(describeLayout(PARTIAL, [2])).toBe('partial');
  });
});
