/** Static memory: offsets by liveness, and spaces laid end to end in an arena. */
import type { Space, SpacePlan } from './plan.js';

/** Every tensor starts on such a boundary: a cache line, and the widest vector. */
export const ALIGNMENT_BYTES = 64;

export function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}

/** A tensor that must keep its bytes from step `start` to step `end`, both included. */
export interface Lifetime {
  readonly bytes: number;
  readonly start: number;
  readonly end: number;
}

export interface MemoryMap {
  /** In step with the lifetimes, 64-byte aligned. */
  readonly offsets: readonly number[];
  readonly totalBytes: number;
}

/**
 * Offsets such that tensors alive at the same step never overlap. Largest first, each into the smallest gap between
 * those it meets that holds it (best fit), else at the end. Deterministic; O(n^2) in the number of tensors.
 */
export function assignOffsets(lifetimes: readonly Lifetime[]): MemoryMap {
  const bySize = lifetimes
    .map((_, index) => index)
    .sort((a, b) => bytesOf(b) - bytesOf(a) || startOf(a) - startOf(b) || a - b);
  const offsets = lifetimes.map(() => 0);
  const placed: number[] = []; // ascending by offset
  let totalBytes = 0;

  for (const index of bySize) {
    const bytes = align(bytesOf(index));
    let bestOffset = -1;
    let bestGap = Number.POSITIVE_INFINITY;
    let free = 0;
    for (const other of placed) {
      if (startOf(other) > endOf(index) || endOf(other) < startOf(index)) continue;
      const offset = offsets[other] ?? 0;
      const gap = offset - free;
      if (gap >= bytes && gap < bestGap) {
        bestGap = gap;
        bestOffset = free;
      }
      free = Math.max(free, offset + align(bytesOf(other)));
    }
    const offset = bestOffset >= 0 ? bestOffset : free;
    offsets[index] = offset;
    totalBytes = Math.max(totalBytes, offset + bytes);
    insertByOffset(index, offset);
  }
  return { offsets, totalBytes };

  function bytesOf(index: number): number {
    return lifetimes[index]?.bytes ?? 0;
  }
  function startOf(index: number): number {
    return lifetimes[index]?.start ?? 0;
  }
  function endOf(index: number): number {
    return lifetimes[index]?.end ?? 0;
  }
  function insertByOffset(index: number, offset: number): void {
    let [low, high] = [0, placed.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((offsets[placed[middle] ?? 0] ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    placed.splice(low, 0, index);
  }
}

/** Offsets of tensors that all live together: one after the other. */
export function packSequentially(sizes: readonly number[]): MemoryMap {
  let totalBytes = 0;
  const offsets = sizes.map((bytes) => {
    const offset = totalBytes;
    totalBytes += align(bytes);
    return offset;
  });
  return { offsets, totalBytes };
}

export interface SpaceSize {
  readonly space: Space;
  readonly slotBytes: readonly number[];
}

export function spaceBytes({ slotBytes }: Pick<SpacePlan, 'slotBytes'>): number {
  return slotBytes.reduce((sum, bytes) => sum + bytes, 0);
}

/** Spaces one after the other in an arena; `totalBytes` is the arena's size. */
export function layOutSpaces(sizes: readonly SpaceSize[]): { spaces: SpacePlan[]; totalBytes: number } {
  let base = 0;
  const spaces = sizes.map(({ space, slotBytes }) => {
    const plan = { space, base, slotBytes: slotBytes.map(align) };
    base += spaceBytes(plan);
    return plan;
  });
  return { spaces, totalBytes: base };
}
