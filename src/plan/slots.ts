/** Which micro-batch of which chunk holds which slot of each slotted space. */
import type { Slots, Space } from './plan.js';

export const SLOTTED = [
  'batch',
  'received',
  'sent',
  'saved',
  'receivedGradients',
  'sentGradients',
  'pending',
  'recomputed',
] as const;
export type Slotted = (typeof SLOTTED)[number];

interface Slot {
  holder: string | null;
  bytes: number;
}

interface Ring {
  readonly first: number;
  readonly size: number;
  turn: number;
}

export class SlotTable {
  private readonly slots = new Map<Slotted, Slot[]>(SLOTTED.map((space) => [space, []]));
  private readonly rings = new Map<string, Ring>();

  /**
   * Takes the free slot that fits `bytes` best, the lowest of equals. Where none is large enough the largest grows, so that
   * there are no more slots than holders at once, and no slot is larger than what some holder fills.
   */
  take(space: Slotted, holder: string, bytes: number): void {
    const slots = this.of(space);
    const excess = (slot: Slot) => slot.bytes - bytes;
    const better = (a: Slot, b: Slot) =>
      excess(a) >= 0 ? excess(b) < 0 || excess(a) < excess(b) : excess(b) < excess(a);
    let best: Slot | undefined;
    for (const slot of slots) {
      if (slot.holder === null && (best === undefined || better(slot, best))) best = slot;
    }
    if (best === undefined) slots.push({ holder, bytes });
    else hold(best, holder, bytes);
  }

  /**
   * Takes the next slot of a ring of `size` slots of its own. Slots of a ring go round and round, so that the one written
   * next is the one whose message is oldest. A space has rings or free slots, not both.
   */
  takeInRing(space: Slotted, name: string, size: number, holder: string, bytes: number): void {
    const slots = this.of(space);
    const key = `${space} ${name}`;
    const ring = this.rings.get(key) ?? { first: slots.length, size, turn: 0 };
    if (!this.rings.has(key)) {
      this.rings.set(key, ring);
      for (let slot = 0; slot < size; slot++) slots.push({ holder: null, bytes: 0 });
    }
    hold(slots[ring.first + (ring.turn % ring.size)]!, holder, bytes);
    ring.turn++;
  }

  release(space: Slotted, holder: string): void {
    const slot = this.of(space)[this.held(space, holder)];
    if (slot !== undefined) slot.holder = null;
  }

  /** -1: none. */
  held(space: Slotted, holder: string): number {
    return this.of(space).findIndex((slot) => slot.holder === holder);
  }

  /** The holder's slots of the spaces used. */
  slotsOf(holder: string, used: ReadonlySet<Space>): Slots {
    const slot = (space: Slotted) => (used.has(space) ? this.held(space, holder) : -1);
    return {
      batch: slot('batch'),
      received: slot('received'),
      sent: slot('sent'),
      saved: slot('saved'),
      receivedGradients: slot('receivedGradients'),
      sentGradients: slot('sentGradients'),
      pending: slot('pending'),
      recomputed: slot('recomputed'),
    };
  }

  /** Bytes of every slot. */
  slotBytes(): Record<Slotted, readonly number[]> {
    const sizes = (space: Slotted) => this.of(space).map(({ bytes }) => bytes);
    return {
      batch: sizes('batch'),
      received: sizes('received'),
      sent: sizes('sent'),
      saved: sizes('saved'),
      receivedGradients: sizes('receivedGradients'),
      sentGradients: sizes('sentGradients'),
      pending: sizes('pending'),
      recomputed: sizes('recomputed'),
    };
  }

  private of(space: Slotted): Slot[] {
    const slots = this.slots.get(space);
    if (slots === undefined) throw new RangeError(`'${space}' has no slots`);
    return slots;
  }
}

function hold(slot: Slot, holder: string, bytes: number): void {
  slot.holder = holder;
  slot.bytes = Math.max(slot.bytes, bytes);
}
