/** Overlap figures of spans whose answer is known. */
import { describe, expect, it } from 'vitest';
import { overlapOf, sumOverlaps } from '../../../src/api/profile/overlap.js';
import type { Span } from '../../../src/runtime/spans.js';

function exchange(begin: number, end: number, buffer: number, helper: boolean): Span {
  return { kind: 'exchange', exchange: 'all-reduce', with: 0, waitSeconds: 0, bytes: 4, begin, end, buffer, helper };
}

function awaited(begin: number, end: number, buffer: number): Span {
  return { kind: 'awaited', begin, end, buffer };
}

describe('overlap', () => {
  it('counts what ran while nobody waited', () => {
    // Buffer 1 is all hidden, buffer 2 half, buffer 3 runs on the thread that waits; 4 was never started apart.
    const spans = [
      exchange(0, 1, 1, true),
      exchange(2, 4, 2, true),
      awaited(3, 3, 1),
      awaited(3, 4, 2),
      exchange(5, 6, 3, false),
      awaited(5, 6, 3),
      exchange(7, 8, 4, false),
    ];
    expect(overlapOf(spans)).toEqual({ numStarted: 3, numBegunBefore: 2, exchangeSeconds: 5, hiddenSeconds: 2 });
  });

  it('tells rounds of one buffer apart', () => {
    const spans = [exchange(0, 1, 1, true), awaited(2, 2, 1), exchange(3, 4, 1, false), awaited(2.5, 4, 1)];
    expect(overlapOf(spans).numBegunBefore).toBe(1);
  });

  it('leaves messages out', () => {
    const message: Span = { ...(exchange(0, 1, 1, false) as Extract<Span, { kind: 'exchange' }>), exchange: 'send' };
    expect(overlapOf([message])).toEqual({ numStarted: 0, numBegunBefore: 0, exchangeSeconds: 0, hiddenSeconds: 0 });
  });

  it('adds up', () => {
    const one = { numStarted: 1, numBegunBefore: 1, exchangeSeconds: 2, hiddenSeconds: 1 };
    expect(sumOverlaps([one, one])).toEqual({ numStarted: 2, numBegunBefore: 2, exchangeSeconds: 4, hiddenSeconds: 2 });
    expect(sumOverlaps([])).toMatchObject({ numStarted: 0 });
  });
});
