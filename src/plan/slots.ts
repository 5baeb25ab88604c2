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

interface Ring {
  readonly first: number;
  readonly size: number;
  turn: number;
}

export class SlotTable {
  private readonly holders = new Map<Slotted, (string | null)[]>(SLOTTED.map((space) => [space, []]));
  private readonly rings = new Map<string, Ring>();

  /** Takes the lowest free slot. */
  take(space: Slotted, holder: string): void {
    const holders = this.of(space);
    const free = holders.indexOf(null);
    if (free >= 0) holders[free] = holder;
    else holders.push(holder);
  }

  /**
   * Takes the next slot of a ring of `size` slots of its own. Slots of a ring go round and round, so that the one written
   * next is the one whose message is oldest. A space has rings or free slots, not both.
   */
  takeInRing(space: Slotted, name: string, size: number, holder: string): void {
    const holders = this.of(space);
    const key = `${space} ${name}`;
    const ring = this.rings.get(key) ?? { first: holders.length, size, turn: 0 };
    if (!this.rings.has(key)) {
      this.rings.set(key, ring);
      for (let slot = 0; slot < size; slot++) holders.push(null);
    }
    holders[ring.first + (ring.turn % ring.size)] = holder;
    ring.turn++;
  }

  release(space: Slotted, holder: string): void {
    const holders = this.of(space);
    const slot = holders.indexOf(holder);
    if (slot >= 0) holders[slot] = null;
  }

  /** -1: none. */
  held(space: Slotted, holder: string): number {
    return this.of(space).indexOf(holder);
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

  numSlots(): Record<Slotted, number> {
    const count = (space: Slotted) => this.of(space).length;
    return {
      batch: count('batch'),
      received: count('received'),
      sent: count('sent'),
      saved: count('saved'),
      receivedGradients: count('receivedGradients'),
      sentGradients: count('sentGradients'),
      pending: count('pending'),
      recomputed: count('recomputed'),
    };
  }

  private of(space: Slotted): (string | null)[] {
    const holders = this.holders.get(space);
    if (holders === undefined) throw new RangeError(`'${space}' has no slots`);
    return holders;
  }
}
