/** The in-process communicator: reductions, gathers, messages, time limits and aborts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Group } from '../../src/plan/plan.js';
import type { HostCommunicator } from '../../src/runtime/communicator.js';
import { localCommunicators } from '../../src/runtime/localCommunicator.js';

const group = (ranks: readonly number[], id = 7): Group => ({ id, axis: 'dp', ranks });

function onRanks<T>(
  ranks: readonly number[],
  all: readonly HostCommunicator[],
  body: (one: HostCommunicator) => Promise<T>,
): Promise<T[]> {
  return Promise.all(ranks.map((rank) => body(all[rank] as HostCommunicator)));
}

describe('localCommunicators', () => {
  it('reduces in group order to the same bits on every rank', async () => {
    const floats = fc.float({ noNaN: true, min: -1e6, max: 1e6 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(floats, { minLength: 3, maxLength: 3 }), { minLength: 1, maxLength: 4 }),
        async (data) => {
          const all = localCommunicators(data.length);
          const ranks = data.map((_, rank) => rank).reverse();
          for (const op of ['sum', 'max'] as const) {
            const results = await onRanks(ranks, all, (one) =>
              one.allReduce(group(ranks), Float32Array.from(data[one.rank] ?? []), op),
            );
            const expected = [0, 1, 2].map((i) =>
              ranks
                .map((rank) => Math.fround(data[rank]?.[i] ?? 0))
                .reduce((a, b) => (op === 'sum' ? Math.fround(a + b) : Math.max(a, b))),
            );
            for (const result of results) expect([...result]).toEqual(expected);
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  it('gathers in group order and keeps groups apart', async () => {
    const all = localCommunicators(3);
    const gather = (ranks: readonly number[], id: number) =>
      onRanks(ranks, all, (one) => one.allGather(group(ranks, id), Uint8Array.of(one.rank)));
    const [first, second] = await Promise.all([gather([2, 0], 1), gather([0, 1, 2], 2)]);
    expect(first.map((parts) => parts.map((part) => part[0]))).toEqual([
      [2, 0],
      [2, 0],
    ]);
    expect(second[0]?.map((part) => part[0])).toEqual([0, 1, 2]);
  });

  it('delivers messages in order, per tag, whether sent before or after the receive', async () => {
    const [a, b] = localCommunicators(2) as [HostCommunicator, HostCommunicator];
    await a.send(1, 4, Uint8Array.of(1));
    await a.send(1, 5, Uint8Array.of(2));
    await a.send(1, 4, Uint8Array.of(3));
    expect((await b.receive(0, 5))[0]).toBe(2);
    expect((await b.receive(0, 4))[0]).toBe(1);
    expect((await b.receive(0, 4))[0]).toBe(3);
    const later = b.receive(0, 6);
    await a.send(1, 6, Uint8Array.of(9));
    expect((await later)[0]).toBe(9);
    expect(b.takeWaitSeconds()).toBeGreaterThan(0);
    expect(b.takeWaitSeconds()).toBe(0);
  });

  it('names the absent ranks, the operation and its number after the time limit', async () => {
    const all = localCommunicators(3);
    for (const one of all) one.setTimeoutSeconds(0.05);
    await onRanks([0, 1, 2], all, (one) => one.allReduce(group([0, 1, 2]), Float32Array.of(1), 'sum'));
    const [late] = await Promise.allSettled([all[1]?.allReduce(group([0, 1, 2]), Float32Array.of(1), 'sum')]);
    expect(late).toMatchObject({
      reason: {
        code: 'comm/timeout',
        message: expect.stringMatching(/ranks 0, 2 are absent from all-reduce .*#2 of group 7/),
      },
    });
    await expect(all[0]?.receive(2, 3)).rejects.toMatchObject({
      code: 'comm/timeout',
      message: expect.stringContaining('rank 2 is absent'),
    });
  });

  it('aborts waits in flight and all later calls', async () => {
    const [a] = localCommunicators(2) as [HostCommunicator, HostCommunicator];
    const waiting = a.receive(1, 0);
    a.abort('rank 1 died');
    await expect(waiting).rejects.toMatchObject({ code: 'comm/aborted' });
    await expect(a.send(1, 0, Uint8Array.of(1))).rejects.toMatchObject({ code: 'comm/aborted' });
    await expect(a.allGather(group([0, 1]), Uint8Array.of(1))).rejects.toMatchObject({ code: 'comm/aborted' });
  });

  it('refuses ranks that disagree on the operation', async () => {
    const [a, b] = localCommunicators(2) as [HostCommunicator, HostCommunicator];
    a.setTimeoutSeconds(0.05);
    const first = a.allReduce(group([0, 1]), Float32Array.of(1), 'sum').catch((error: unknown) => error);
    await expect(b.allReduce(group([0, 1]), Float32Array.of(1, 2), 'sum')).rejects.toMatchObject({
      code: 'comm/peer-lost',
    });
    await first;
  });
});
