/** Philox against the known answers of Random123, and what the streams promise. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { initialize } from '../../src/graph/initialize.js';
import { drawNormal, drawUniform, fnv1a, philox4x32 } from '../../src/graph/philox.js';

function block(counter: number, key: number): string[] {
  const out = new Uint32Array(4);
  philox4x32(counter, counter, counter, counter, key, key, out);
  return [...out].map((word) => word.toString(16).padStart(8, '0'));
}

describe('philox', () => {
  it('gives the known answers of Random123', () => {
    expect(block(0, 0)).toEqual(['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']);
    expect(block(0xffffffff, 0xffffffff)).toEqual(['408f276d', '41c83b0e', 'a20bc7c6', '6d5451fd']);
    const out = new Uint32Array(4);
    philox4x32(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, out);
    expect([...out].map((word) => word.toString(16))).toEqual(['d16cfe09', '94fdcceb', '5001e420', '24126ea1']);
  });

  it('hashes as FNV-1a does', () => {
    expect(fnv1a('')).toBe(0x811c9dc5);
    expect(fnv1a('a')).toBe(0xe40c292c);
    expect(fnv1a('foobar')).toBe(0xbf9cf968);
  });

  it('has the moments of the distributions', () => {
    const stream = { seed: 7, step: 3, node: 11 };
    const region = { shape: [40_000], globalShape: [40_000], offsets: [0] };
    const mean = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const uniform = drawUniform(stream, region);
    expect(mean(uniform)).toBeCloseTo(0.5, 2);
    expect(uniform.every((value) => value >= 0 && value < 1)).toBe(true);
    const normal = drawNormal(stream, region);
    expect(mean(normal)).toBeCloseTo(0, 1);
    expect(mean(normal.map((value) => value * value))).toBeCloseTo(1, 1);
  });
});

describe('initialize', () => {
  const shapes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 3 });
  const kinds = fc.constantFrom(
    { kind: 'uniform', low: -1, high: 2 } as const,
    { kind: 'normal', mean: 1, stddev: 0.5 } as const,
    { kind: 'truncatedNormal', mean: 0, stddev: 2 } as const,
    { kind: 'constant', value: 3 } as const,
  );

  it('draws the same numbers for a shard as for the whole', () => {
    fc.assert(
      fc.property(shapes, kinds, fc.nat(1000), fc.nat(2 ** 40), (shape, kind, cut, seed) => {
        const whole = initialize(kind, 'layer/w', shape, seed);
        const offsets = shape.map((size) => cut % size);
        const piece = shape.map((size, dim) => size - offsets[dim]!);
        const shard = initialize(kind, 'layer/w', shape, seed, { shape: piece, offsets });
        const expected = [...whole].filter((_, index) => {
          let rest = index;
          return [...shape]
            .reverse()
            .map((size, back) => {
              const at = rest % size;
              rest = Math.floor(rest / size);
              return at >= offsets[shape.length - 1 - back]!;
            })
            .every(Boolean);
        });
        expect([...shard]).toEqual(expected);
      }),
      { numRuns: 50 },
    );
  });

  it('keeps truncated normals within two deviations, and depends on name and seed', () => {
    const kind = { kind: 'truncatedNormal', mean: 1, stddev: 0.1 } as const;
    const values = initialize(kind, 'w', [5000], 1);
    expect(Math.max(...values)).toBeLessThanOrEqual(1.2 + 1e-6);
    expect(Math.min(...values)).toBeGreaterThanOrEqual(0.8 - 1e-6);
    expect(initialize(kind, 'v', [4], 1)).not.toEqual(values.slice(0, 4));
    expect(initialize(kind, 'w', [4], 2)).not.toEqual(values.slice(0, 4));
    expect(initialize(kind, 'w', [5000], 1)).toEqual(values);
  });
});
