/** Offsets by liveness: nothing alive at the same time overlaps, and little is wasted. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ALIGNMENT_BYTES, align, assignOffsets, layOutSpaces, packSequentially } from '../../src/plan/memory.js';

const lifetimes = fc.array(
  fc.record({ bytes: fc.nat(5000), start: fc.nat(30), length: fc.nat(10) }).map(({ bytes, start, length }) => ({
    bytes,
    start,
    end: start + length,
  })),
  { maxLength: 40 },
);

describe('assignOffsets', () => {
  it('keeps apart what lives together', () => {
    fc.assert(
      fc.property(lifetimes, (tensors) => {
        const { offsets, totalBytes } = assignOffsets(tensors);
        tensors.forEach((a, i) => {
          expect(offsets[i]! % ALIGNMENT_BYTES).toBe(0);
          expect(offsets[i]! + a.bytes).toBeLessThanOrEqual(totalBytes);
          tensors.slice(0, i).forEach((b, j) => {
            const together = a.start <= b.end && b.start <= a.end;
            const apart = offsets[i]! + a.bytes <= offsets[j]! || offsets[j]! + b.bytes <= offsets[i]!;
            expect(!together || apart || a.bytes === 0 || b.bytes === 0).toBe(true);
          });
        });
        const live = Array.from({ length: 41 }, (_, step) =>
          tensors.filter((t) => t.start <= step && step <= t.end).reduce((sum, t) => sum + align(t.bytes), 0),
        );
        expect(totalBytes).toBeGreaterThanOrEqual(Math.max(0, ...live));
        expect(totalBytes).toBeLessThanOrEqual(packSequentially(tensors.map((t) => t.bytes)).totalBytes);
      }),
    );
  });

  it('reuses a chain of equal tensors perfectly', () => {
    const chain = Array.from({ length: 10 }, (_, i) => ({ bytes: 640, start: i, end: i + 1 }));
    expect(assignOffsets(chain).totalBytes).toBe(1280);
  });
});

describe('layOutSpaces', () => {
  it('puts aligned slots end to end', () => {
    const { spaces, totalBytes } = layOutSpaces([
      { space: 'batch', slotBytes: [10, 10, 70] },
      { space: 'saved', slotBytes: [128, 128] },
    ]);
    expect(spaces.map(({ base, slotBytes }) => [base, slotBytes])).toEqual([
      [0, [64, 64, 128]],
      [256, [128, 128]],
    ]);
    expect(totalBytes).toBe(512);
  });
});
