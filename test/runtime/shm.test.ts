/** Collectives and messages through shared memory, between processes: results, and what is said when a peer fails. */
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { reduceInOrder } from '../../src/runtime/communicator.js';
import { bytes, digests, floats, type Operation } from './fixtures/shmProgram.js';
import { type RankProcess, startRanks, stopRanks } from './fixtures/shmRanks.js';

const GROUPS: Readonly<Record<number, readonly number[]>> = {
  0: [0, 1],
  1: [0, 1, 2],
  2: [0, 1, 2, 3],
  3: [2, 1], // in another order, and overlapping
  4: [3, 0, 2],
  5: [2],
};
const SIZES = [0, 1, 7, 1024, 1025, 100_003];

function membersOf(group: number): readonly number[] {
  return GROUPS[group] ?? [];
}

function expected(operation: Operation): string[] {
  if (operation.kind === 'reduce') {
    const { group, op, size, key } = operation;
    const parts = membersOf(group).map((rank) => floats(rank, key, size));
    return digests(reduceInOrder(parts, op));
  }
  if (operation.kind === 'gather') {
    return digests(membersOf(operation.group).map((rank) => bytes(rank, operation.key, operation.size)));
  }
  if (operation.kind === 'broadcast') {
    const { group, root, size, key } = operation;
    return digests(bytes(membersOf(group)[root] ?? -1, key, size));
  }
  return [];
}

describe('healthy ranks', () => {
  let ranks: RankProcess[] = [];
  beforeAll(async () => {
    ranks = await startRanks(4, GROUPS, { ringBytes: 65_536 });
  });
  afterAll(() => stopRanks(ranks));

  /** Runs collectives on the members of their groups, all posted at once; compares every rank's results bit by bit. */
  async function check(operations: readonly Operation[]): Promise<void> {
    await Promise.all(
      ranks.map(async (rank, index) => {
        const own = operations.filter((one) => 'group' in one && membersOf(one.group).includes(index));
        const results = await rank.run(own);
        for (const [i, operation] of own.entries()) {
          expect(results[i], `rank ${index}, ${JSON.stringify(operation)}`).toEqual(expected(operation));
        }
      }),
    );
  }

  it('all-reduces to the same bits on all ranks: groups of one to four, sums and maxima, small and large', () =>
    check(
      Object.keys(GROUPS).flatMap((group) =>
        SIZES.flatMap((size, key) =>
          (['sum', 'max'] as const).map((op) => ({ kind: 'reduce' as const, group: Number(group), op, size, key })),
        ),
      ),
    ));

  it('gathers bytes of all ranks in group order', () =>
    check(
      Object.keys(GROUPS).flatMap((group) =>
        [0, 1, 4096, 4097, 300_001].map((size, key) => ({ kind: 'gather' as const, group: Number(group), size, key })),
      ),
    ));

  it('broadcasts from any rank', () =>
    check(
      [0, 1, 2].flatMap((root) =>
        [0, 1, 5000, 300_001].map((size, key) => ({ kind: 'broadcast' as const, group: 4, root, size, key })),
      ),
    ));

  it('does more than one round when the data is larger than the staging memory', () =>
    check([
      { kind: 'reduce', group: 0, op: 'sum', size: 4_200_000, key: 1 },
      { kind: 'gather', group: 0, size: 17_000_000, key: 2 },
      { kind: 'broadcast', group: 0, root: 1, size: 17_000_000, key: 3 },
    ]));

  it('keeps overlapping groups apart in any order of operations', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            kind: fc.constantFrom('reduce' as const, 'gather' as const, 'broadcast' as const),
            root: fc.constant(0),
            op: fc.constantFrom('sum' as const, 'max' as const),
            group: fc.integer({ min: 0, max: 5 }),
            size: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.constantFrom(1023, 1024, 1025, 4096, 4097, 9000)),
            key: fc.nat(1000),
          }),
          { minLength: 1, maxLength: 40 },
        ),
        check,
      ),
      { numRuns: 15 },
    ));

  it('carries more messages than a channel holds, both ways at once, before anyone receives', async () => {
    const count = 100;
    const sizeOf = (key: number) => [0, 1, 5000, 30_000, 200_000][key % 5] ?? 0;
    const programs = [0, 1].map((rank): Operation[] => [
      ...Array.from({ length: count }, (_, key) => ({
        kind: 'send' as const,
        to: 1 - rank,
        tag: 0,
        size: sizeOf(key),
        key,
      })),
      ...Array.from({ length: count }, () => ({ kind: 'receive' as const, from: 1 - rank, tag: 0 })),
    ]);
    const results = await Promise.all(programs.map((program, rank) => ranks[rank]!.run(program)));
    for (const [rank, result] of results.entries()) {
      for (let key = 0; key < count; key++) {
        expect(result[count + key]).toEqual(digests(bytes(1 - rank, key, sizeOf(key))));
      }
    }
  });

  it('hands out messages by tag, whatever came first', async () => {
    const tags = [0, 1, 2, 3, 2, 10];
    const [, received] = await Promise.all([
      ranks[2]!.run(tags.map((tag, key) => ({ kind: 'send', to: 3, tag, size: 10, key }))),
      ranks[3]!.run([10, 2, 3, 2, 1, 0].map((tag) => ({ kind: 'receive', from: 2, tag }))),
    ]);
    expect(received).toEqual([5, 2, 3, 4, 1, 0].map((key) => digests(bytes(2, key, 10))));
  });

  it('counts the seconds spent waiting', async () => {
    await ranks[0]!.waited();
    const reduce: Operation = { kind: 'reduce', group: 0, op: 'sum', size: 1, key: 0 };
    const first = ranks[0]!.run([reduce]);
    await new Promise((resolve) => setTimeout(resolve, 400));
    await Promise.all([first, ranks[1]!.run([reduce])]);
    expect(await ranks[0]!.waited()).toBeGreaterThan(0.3);
    expect(await ranks[0]!.waited()).toBe(0);
  });
});

describe('ranks in trouble', () => {
  let ranks: RankProcess[] = [];
  afterEach(() => {
    for (const { process } of ranks) process.kill('SIGCONT');
    stopRanks(ranks);
  });
  const reduce = (size: number): Operation => ({ kind: 'reduce', group: 0, op: 'sum', size, key: 0 });
  const start = async () => {
    ranks = await startRanks(2, { 0: [0, 1] });
    // Sequence number 1: everyone was there.
    await Promise.all(ranks.map((rank) => rank.run([reduce(5000)])));
  };

  it('names a killed peer within two seconds, in collectives and messages', async () => {
    await start();
    const inCollective = ranks[0]!.fails([reduce(1)]);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const killed = performance.now();
    ranks[1]!.process.kill('SIGKILL');
    const failure = await inCollective;
    expect(performance.now() - killed).toBeLessThan(2000);
    expect(failure.code).toBe('comm/peer-lost');
    expect(failure.message).toMatch(/waits for rank 1 in all-reduce of group dp \[0,1\], sequence number 2/);
    const message = await ranks[0]!.fails([{ kind: 'receive', from: 1, tag: 0 }]);
    expect(message.code).toBe('comm/peer-lost');
    expect(message.message).toMatch(/rank 1 in receive with tag 0/);
    expect(message.milliseconds).toBeLessThan(2000);
  });

  it('names a stalled peer at the time limit', async () => {
    await start();
    ranks[1]!.process.kill('SIGSTOP');
    for (const size of [1, 5000]) {
      const failure = await ranks[0]!.fails([reduce(size)], 0.7);
      expect(failure.code).toBe('comm/timeout');
      expect(failure.message).toMatch(
        /rank 1 in all-reduce of group dp \[0,1\], sequence number [23]: no answer within 0.7 s/,
      );
      expect(failure.milliseconds).toBeGreaterThan(690);
      expect(failure.milliseconds).toBeLessThan(2000);
    }
    // A channel holds so many messages; then the sender waits too.
    const sends = Array.from({ length: 40 }, (): Operation => ({ kind: 'send', to: 1, tag: 1, size: 10, key: 0 }));
    const failure = await ranks[0]!.fails(sends, 0.5);
    expect(failure.code).toBe('comm/timeout');
    expect(failure.message).toMatch(/rank 1 in send with tag 1/);
  });

  it('ends waits at once when aborted, and later ones too', async () => {
    await start();
    const waiting = ranks[0]!.fails([reduce(5000)]);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const aborted = performance.now();
    await ranks[0]!.abort('rank 7 failed');
    const failure = await waiting;
    expect(performance.now() - aborted).toBeLessThan(500);
    expect(failure.code).toBe('comm/aborted');
    expect(failure.message).toContain('rank 7 failed');
    expect((await ranks[0]!.fails([{ kind: 'receive', from: 1, tag: 0 }])).code).toBe('comm/aborted');
  });

  it('says what each rank brought when they disagree', async () => {
    await start();
    const pairs: readonly (readonly Operation[])[] = [
      [reduce(5000), reduce(5001)],
      [reduce(1), reduce(5000)],
      [reduce(0), reduce(3)],
      [{ kind: 'reduce', group: 0, op: 'max', size: 8, key: 0 }, reduce(8)],
      [{ kind: 'gather', group: 0, size: 32, key: 0 }, reduce(8)],
      [0, 1].map((rank): Operation => ({ kind: 'broadcast', group: 0, root: 0, size: 9 + rank, key: 0 })),
    ];
    for (const pair of pairs) {
      const failures = await Promise.all(ranks.map((rank, index) => rank.fails([pair[index]!], 10)));
      for (const [index, failure] of failures.entries()) {
        expect(failure.code).toBe('comm/mismatch');
        expect(failure.message).toMatch(
          new RegExp(`ranks disagree about .*rank ${1 - index} has .* bytes, rank ${index} has`),
        );
      }
    }
  });
});
