/** Relayed collectives against the ones inside a process, and their limits. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Group } from '../../src/plan/plan.js';
import type { HostCommunicator } from '../../src/runtime/communicator.js';
import { localCommunicators } from '../../src/runtime/localCommunicator.js';
import { type RelayCommunicator, relayCommunicator } from '../../src/worker/relayCommunicator.js';

/** As the coordinator relays: encoded at once, delivered later, to a buffer at an odd offset. */
function relayed(numRanks: number): RelayCommunicator[] {
  const ranks: RelayCommunicator[] = Array.from({ length: numRanks }, (_, rank) =>
    relayCommunicator(rank, ({ peer, channel, data }) => {
      const message = Buffer.alloc(data.length + 1);
      message.set(data, 1);
      setImmediate(() => ranks[peer]!.deliver({ peer: rank, channel, data: message.subarray(1) }));
    }),
  );
  return ranks;
}

function onAll<T>(ranks: readonly HostCommunicator[], work: (rank: HostCommunicator) => Promise<T>): Promise<T[]> {
  return Promise.all(ranks.map(work));
}

it('reduces and gathers to the same bits as inside one process', async () => {
  const floats = fc.float({ noNaN: true, noDefaultInfinity: true });
  const cases = fc.integer({ min: 1, max: 4 }).chain((numRanks) =>
    fc.record({
      group: fc.shuffledSubarray([...Array(numRanks).keys()], { minLength: 1 }),
      parts: fc.array(fc.array(floats, { minLength: 3, maxLength: 3 }), { minLength: numRanks, maxLength: numRanks }),
      op: fc.constantFrom('sum' as const, 'max' as const),
    }),
  );
  await fc.assert(
    fc.asyncProperty(cases, async ({ group: members, parts, op }) => {
      const group: Group = { id: 3, axis: 'tp', ranks: members };
      const results = await Promise.all(
        [relayed(parts.length), localCommunicators(parts.length)].map((all) =>
          onAll(
            all.filter(({ rank }) => members.includes(rank)),
            async (comm) => {
              const part = Float32Array.from(parts[comm.rank]!);
              const sums = [await comm.allReduce(group, part, op), await comm.allReduce(group, part, op)];
              const gathered = await comm.allGather(group, Uint8Array.of(comm.rank, 7));
              return { sums, gathered: gathered.map((bytes) => [...bytes]) };
            },
          ),
        ),
      );
      expect(results[0]).toEqual(results[1]);
    }),
    { numRuns: 40 },
  );
});

it('keeps the order of messages on a channel', async () => {
  const [a, b] = relayed(2) as [RelayCommunicator, RelayCommunicator];
  const reused = Uint8Array.of(1);
  await a.send(1, 4, reused);
  reused[0] = 2;
  await a.send(1, 4, reused);
  await a.send(1, 5, Uint8Array.of(9));
  expect((await b.receive(0, 5))[0]).toBe(9);
  expect((await b.receive(0, 4))[0]).toBe(1);
  expect((await b.receive(0, 4))[0]).toBe(2);
  expect(b.takeWaitSeconds()).toBeGreaterThan(0);
  expect(b.takeWaitSeconds()).toBe(0);
});

it('names the absent rank, the operation and its number when time runs out', async () => {
  const [first] = relayed(2) as [RelayCommunicator, RelayCommunicator];
  first.setTimeoutSeconds(0.05);
  const group: Group = { id: 2, axis: 'dp', ranks: [0, 1] };
  await expect(first.allReduce(group, Float32Array.of(1), 'sum')).rejects.toMatchObject({
    code: 'comm/timeout',
    summary: expect.stringMatching(/rank 1 is absent from all-reduce sum of 1 #1 of group 2 \(dp\)/),
  });
});

it('an abort ends waits under way and all later ones', async () => {
  const [first] = relayed(2) as [RelayCommunicator, RelayCommunicator];
  const waiting = first.receive(1, 0);
  first.abort('rank 1 died');
  await expect(waiting).rejects.toMatchObject({ code: 'comm/aborted', summary: 'rank 1 died' });
  await expect(first.receive(1, 0)).rejects.toMatchObject({ code: 'comm/aborted' });
});
