/** Slots of chunks of different sizes: never more than holders at once, none larger than what somebody fills. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SlotTable } from '../../src/plan/slots.js';

describe('SlotTable', () => {
  it('takes the free slot that fits best, and lets the largest grow where none does', () => {
    const slots = new SlotTable();
    for (const [holder, bytes] of Object.entries({ a: 10, b: 30, c: 20 })) slots.take('saved', holder, bytes);
    for (const holder of ['a', 'b', 'c']) slots.release('saved', holder);
    slots.take('saved', 'fits c', 15);
    expect(slots.held('saved', 'fits c')).toBe(2);
    slots.take('saved', 'fits none', 40);
    expect(slots.held('saved', 'fits none')).toBe(1);
    expect(slots.slotBytes().saved).toEqual([10, 40, 20]);
  });

  it('holds whatever comes and goes, in no more than slots of the largest size would', () => {
    const moves = fc.array(fc.record({ takes: fc.boolean(), pick: fc.nat(), bytes: fc.integer({ min: 1, max: 100 }) }));
    fc.assert(
      fc.property(moves, (all) => {
        const slots = new SlotTable();
        const held = new Map<string, number>();
        const [sizes, most] = [[] as number[], { held: 0 }];
        for (const [index, { takes, pick, bytes }] of all.entries()) {
          const holder = [...held.keys()][pick % Math.max(1, held.size)];
          if (takes || holder === undefined) {
            slots.take('saved', `${index}`, bytes);
            held.set(`${index}`, bytes);
            sizes.push(bytes);
          } else {
            slots.release('saved', holder);
            held.delete(holder);
          }
          most.held = Math.max(most.held, held.size);
          const now = slots.slotBytes().saved;
          const places = [...held].map(([name, wanted]) => {
            expect(now[slots.held('saved', name)]).toBeGreaterThanOrEqual(wanted);
            return slots.held('saved', name);
          });
          expect(new Set(places).size).toBe(held.size);
        }
        const made = slots.slotBytes().saved;
        expect(made.length).toBe(most.held);
        for (const bytes of made) expect(sizes).toContain(bytes);
      }),
    );
  });
});
