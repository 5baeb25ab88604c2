/** A rank's memory as tensors: what lies at (space, slot, byte offset). Counts the bytes it holds. */
import * as tf from '@tensorflow/tfjs';
import { PERSISTENT_SPACES, type Space } from '../../plan/plan.js';

export interface Storage {
  /** The tensor at a place, seen with `shape`; undefined when nothing was written there. */
  get(space: Space, slot: number, offset: number): tf.Tensor | undefined;
  /** Takes ownership of `tensor`; disposes what was there. */
  set(space: Space, slot: number, offset: number, tensor: tf.Tensor): void;
  /** Places written in a slot of a space, ascending by offset. */
  entries(space: Space, slot: number): readonly (readonly [offset: number, tensor: tf.Tensor])[];
  /** Disposes everything in a space (all slots). */
  clear(space: Space): void;
  /** Bytes held now, and the most held since the storage was made, outside persistent spaces. */
  bytes(): { readonly persistent: number; readonly workingPeak: number };
  /** Counts bytes of values that live outside the storage (scratch). */
  addScratch(bytes: number): void;
  /** Disposes everything. */
  dispose(): void;
}

export function createStorage(): Storage {
  const places = new Map<string, Map<number, tf.Tensor>>();
  let persistent = 0;
  let working = 0;
  let workingPeak = 0;

  function count(space: Space, bytes: number): void {
    if (isPersistent(space)) persistent += bytes;
    else countWorking(bytes);
  }

  function countWorking(bytes: number): void {
    working += bytes;
    workingPeak = Math.max(workingPeak, working);
  }

  function slotOf(space: Space, slot: number): Map<number, tf.Tensor> {
    const key = `${space}/${isSlotted(space) ? slot : 0}`;
    const existing = places.get(key);
    if (existing !== undefined) return existing;
    const created = new Map<number, tf.Tensor>();
    places.set(key, created);
    return created;
  }

  function release(space: Space, tensors: Map<number, tf.Tensor>): void {
    for (const tensor of tensors.values()) {
      count(space, -tensorBytes(tensor));
      tensor.dispose();
    }
    tensors.clear();
  }

  return {
    get: (space, slot, offset) => slotOf(space, slot).get(offset),
    set(space, slot, offset, tensor) {
      const tensors = slotOf(space, slot);
      const previous = tensors.get(offset);
      tensors.set(offset, tensor);
      count(space, tensorBytes(tensor) - (previous === undefined ? 0 : tensorBytes(previous)));
      previous?.dispose();
    },
    entries: (space, slot) => [...slotOf(space, slot)].sort(([a], [b]) => a - b),
    clear(space) {
      for (const [key, tensors] of places) if (key.startsWith(`${space}/`)) release(space, tensors);
    },
    bytes: () => ({ persistent, workingPeak }),
    addScratch: countWorking,
    dispose() {
      for (const [key, tensors] of places) release(key.split('/')[0] as Space, tensors);
      places.clear();
    },
  };
}

export function tensorBytes(tensor: tf.Tensor): number {
  return tensor.size * tf.util.bytesPerElement(tensor.dtype);
}

function isPersistent(space: Space): boolean {
  return (PERSISTENT_SPACES as readonly Space[]).includes(space);
}

/** Spaces with a copy per micro-batch in flight. */
export function isSlotted(space: Space): boolean {
  return !isPersistent(space) && space !== 'constants' && space !== 'metrics' && space !== 'scratch';
}
