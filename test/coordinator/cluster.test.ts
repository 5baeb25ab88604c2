/** The control plane with real worker processes, on a device that only echoes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../../src/coordinator/cluster.js';
import { emptyPlan, executable, isAlive, startEchoCluster, stepInput, workerPids } from './echoCluster.js';

describe('a group of two workers', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startEchoCluster(2);
    await cluster.open(emptyPlan(2));
  });
  afterAll(() => cluster?.close());

  it('opens the plan and connects everyone to all arenas', async () => {
    await cluster.load([executable('more'), executable('more')]);
    const measured = await cluster.measuredBytes();
    expect(measured.map(({ connected }) => connected)).toEqual([6, 6]);
    expect(new Set(measured.map(({ pid }) => pid)).size).toBe(2);
  });

  it('carries batches and results without loss', async () => {
    const fields = (rank: number): Map<string, Float32Array | Int32Array | Uint8Array> =>
      new Map<string, Float32Array | Int32Array | Uint8Array>([
        ['x', Float32Array.of(1.5, rank, -0)],
        ['labels', Int32Array.of(-7, 2 ** 30 - 1)],
        ['mask', Uint8Array.of(1, 0, 100)],
        ['none', new Float32Array(0)],
      ]);
    const results = await cluster.run('train', (rank) => stepInput(3, fields(rank)));
    expect(results.map(({ metrics }) => metrics)).toEqual([
      { loss: 3, rate: 0.125 },
      { loss: 3.1, rate: 0.125 },
    ]);
    expect(results[1]).toMatchObject({ gradientNorm: Number.NaN, seconds: 0.5, waitSeconds: 0.25 });
    expect(results[1]?.outputs).toEqual(
      new Map<string, unknown>([
        ['x', Float32Array.of(3, 2, -0)],
        ['labels', Int32Array.of(-14, 2 ** 31 - 2)],
        ['mask', Uint8Array.of(2, 0, 200)],
        ['none', new Float32Array(0)],
      ]),
    );
  });

  it('takes further runs before the first has ended, and keeps their order', async () => {
    const order: number[] = [];
    const runs = [5, 6, 7].map(async (step) => {
      const input = Float32Array.of(step);
      const run = cluster.run('slow', () => stepInput(step, new Map([['x', input]])));
      input.fill(-1); // The batch may be reused at once.
      const [result] = await run;
      order.push(step);
      return result?.outputs.get('x')?.[0];
    });
    expect(await Promise.all(runs)).toEqual([10, 12, 14]);
    expect(order).toEqual([5, 6, 7]);
  });

  it('writes and reads shards larger than a chunk', async () => {
    const value = Float32Array.from({ length: 9 * 2 ** 20 + 3 }, (_, i) => i % 1021);
    const moment = Int32Array.of(1, 2, 3);
    await Promise.all([cluster.write(1, 4, 'value', value), cluster.write(1, 4, 0, moment)]);
    expect(Buffer.compare(Buffer.from((await cluster.read(1, 4, 'value')).buffer), Buffer.from(value.buffer))).toBe(0);
    expect(await cluster.read(1, 4, 0)).toEqual(moment);
  });

  it('sets the number of updates everywhere', async () => {
    await cluster.setUpdates(41);
    expect((await cluster.measuredBytes()).map(({ updates }) => updates)).toEqual([41, 41]);
  });

  it('sums over ranks through the coordinator, every rank ending with the same bits', async () => {
    const [first, second] = await cluster.run('relay', () => stepInput(0));
    expect(first?.outputs.get('sum')).toEqual(Float32Array.of(3, 0.1));
    expect(second?.outputs).toEqual(first?.outputs);
  });

  it('refuses a plan for another number of ranks', async () => {
    await expect(cluster.open(emptyPlan(3))).rejects.toMatchObject({ code: 'config/degrees' });
  });

  it('ends its workers on close and refuses work afterwards', async () => {
    const pids = await workerPids(cluster);
    await cluster.close();
    expect(pids.filter(isAlive)).toEqual([]);
    await expect(cluster.setUpdates(1)).rejects.toMatchObject({ code: 'coordinator/protocol' });
    const log = readFileSync(join(cluster.logDirectory!, 'worker-1.log'), 'utf8');
    expect(log).toContain('joined as rank 1 on echo');
    expect(log).toContain('opened with 1 executables');
    expect(log).toContain('closed');
  });
});
