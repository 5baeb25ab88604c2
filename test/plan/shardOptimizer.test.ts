/** ZeRO-1 as a plan property: pieces cover every element once, and memory shrinks by exactly the moments given away. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildGroups, numRanks } from '../../src/plan/mesh.js';
import { layOutParameters, type PersistentLayout } from '../../src/plan/parameters.js';
import type { Mesh, ParameterPlan } from '../../src/plan/plan.js';

const ADAM = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 } as const;

function layouts(mesh: Mesh, sizes: readonly number[], shardOptimizer: boolean): PersistentLayout[] {
  const parameters = sizes.map((size, i): ParameterPlan => {
    // The first is tied across all stages, the others alternate.
    const stages = i === 0 ? Array.from({ length: mesh.pp }, (_, stage) => stage) : [i % mesh.pp];
    const layout = { kind: 'replicate' } as const;
    return { name: `p${i}`, shape: [size], dtype: 'float32', trainable: i % 5 !== 4, layout, stages };
  });
  const groups = buildGroups(
    mesh,
    parameters.map(({ stages }) => stages),
  );
  return Array.from({ length: numRanks(mesh) }, (_, rank) =>
    layOutParameters({
      mesh,
      rank,
      groups,
      parameters,
      localShapes: parameters.map(({ shape }) => shape),
      updated: parameters.map(() => false),
      optimizer: ADAM,
      shardOptimizer,
    }),
  );
}

const cases = fc.record({
  mesh: fc.record({ pp: fc.integer({ min: 1, max: 2 }), dp: fc.integer({ min: 1, max: 4 }), tp: fc.constant(1) }),
  sizes: fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 9 }),
});

const spaceOf = (layout: PersistentLayout, space: string) =>
  layout.spaces.find((one) => one.space === space)?.slotBytes[0] ?? 0;

describe('a sharded optimizer', () => {
  it('gives every element of every copy to exactly one replica, with room for its moments alone', () => {
    fc.assert(
      fc.property(cases, ({ mesh, sizes }) => {
        const ranks = layouts(mesh, sizes, true);
        for (let pp = 0; pp < mesh.pp; pp++) {
          const replicas = ranks.slice(pp * mesh.dp, (pp + 1) * mesh.dp);
          replicas[0]!.parameters.forEach(({ shape, trainable }, at) => {
            const owned = replicas.map(({ parameters }) => parameters[at]!.owned);
            if (!trainable || mesh.dp === 1) {
              expect(owned.every((one) => one === undefined)).toBe(true);
              return;
            }
            // Ascending by replica, without gaps.
            let next = 0;
            for (const { begin, end } of owned as { begin: number; end: number }[]) {
              if (begin === end) continue;
              expect(begin).toBe(next);
              next = end;
            }
            expect(next).toBe(shape[0]);
          });
          for (const rank of replicas) {
            const taken = rank.parameters
              .flatMap(({ momentOffsets, owned, shape }) => {
                const floats = owned === undefined ? shape[0]! : owned.end - owned.begin;
                return momentOffsets.map((offset): [number, number] => [offset, offset + 4 * floats]);
              })
              .sort(([a], [b]) => a - b);
            for (const [i, [begin, end]] of taken.entries()) {
              expect(begin % 64).toBe(0);
              expect(end).toBeLessThanOrEqual(taken[i + 1]?.[0] ?? spaceOf(rank, 'optimizer'));
            }
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it('keeps buckets of equal pieces that never share bytes, parameters at the offsets of their gradients', () => {
    fc.assert(
      fc.property(cases, ({ mesh, sizes }) => {
        for (const { gradientBuckets, parameters, spaces } of layouts(mesh, sizes, true)) {
          let end = 0;
          for (const { offset, length, pieceLength } of gradientBuckets) {
            expect(offset).toBeGreaterThanOrEqual(end);
            if (mesh.dp > 1) expect(length).toBe(mesh.dp * pieceLength!);
            end = offset + 4 * length;
          }
          const bytes = spaces.find(({ space }) => space === 'gradients')?.slotBytes[0] ?? 0;
          expect(end).toBeLessThanOrEqual(bytes);
          for (const { gradientOffset, offset } of parameters) {
            if (gradientOffset >= 0) expect(offset).toBe(gradientOffset);
            else expect(offset).toBeGreaterThanOrEqual(bytes);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it('divides the moments by the replicas, but for padding', () => {
    const mesh = { pp: 1, dp: 4, tp: 1 };
    const [whole] = layouts(mesh, [1000, 300, 77, 4096], false);
    const [pieces] = layouts(mesh, [1000, 300, 77, 4096], true);
    expect(spaceOf(pieces!, 'optimizer')).toBeLessThanOrEqual(spaceOf(whole!, 'optimizer') / 4 + 2 * 64);
    expect(spaceOf(pieces!, 'optimizer')).toBeGreaterThanOrEqual((2 * 4 * (1000 + 300 + 77 + 4096)) / 4);
  });
});
