/** What NCCL takes counts in plans: as an own line, against the limit, in the search as in the plan. */
import { describe, expect, it } from 'vitest';
import { MerakError } from '../../../src/errors.js';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { gpt } from '../../../src/models/gpt.js';
import { rankMemory } from '../../../src/plan/memoryReport.js';
import { buildPlan } from '../../../src/planner/buildPlan.js';
import { ncclBytes } from '../../../src/planner/costs/communicatorBytes.js';
import { deviceByName } from '../../../src/planner/costs/devices.js';
import { linkByName } from '../../../src/planner/costs/links.js';
import { explainPlan } from '../../../src/planner/explain.js';
import { type Cluster, clusterCosts } from '../../../src/planner/search/cluster.js';
import { searchLayout } from '../../../src/planner/search/searchLayout.js';
import { lazy } from '../../../src/trace/lazy.js';
import { traceModel } from '../../../src/trace/trace.js';

const MIB = 2 ** 20;
const bytes = ncclBytes({ group: 32, world: 4, message: 8 });
const mesh = { pp: 1, dp: 1, tp: 1 };

describe('NCCL on a card', () => {
  it('is nothing for a rank alone, buffers of every channel for two', () => {
    expect(bytes(mesh, 1)).toBe(0);
    expect(bytes({ ...mesh, dp: 2 }, 1)).toBe((32 * 14 + 8 + 4 * 14 + 8) * MIB);
    expect(bytes({ ...mesh, tp: 2 }, 1)).toBe(bytes({ ...mesh, dp: 2 }, 1));
    // One channel of messages each way, and stages that may share a parameter.
    expect(bytes({ ...mesh, pp: 2 }, 1)).toBe(bytes({ ...mesh, dp: 2 }, 1) + 2 * (8 * 28 + 8) * MIB);
  });

  it('grows with ranks, stages and chunks', () => {
    const grows = [
      bytes({ ...mesh, dp: 4 }, 1),
      bytes({ ...mesh, dp: 8 }, 1),
      bytes({ ...mesh, dp: 8, pp: 2 }, 1),
      bytes({ ...mesh, dp: 8, pp: 2 }, 2),
      bytes({ ...mesh, dp: 8, pp: 4 }, 2),
    ];
    expect(grows).toEqual([...grows].sort((a, b) => a - b));
    expect(new Set(grows).size).toBe(grows.length);
  });
});

describe('a plan whose ranks exchange by NCCL', () => {
  const model = lazy(() => gpt({ vocabularySize: 64, contextLength: 16, numLayers: 2, numHeads: 2, hiddenSize: 16 }));
  const fields = ['tokens', 'targets'].map((name) => ({ name, shape: [16], dtype: 'int32' as const }));
  const graphAt = (size: number) => optimizeGraph(traceModel(model, 'train', fields, size).graph);
  const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: 0 } as const;
  const cluster = (communicatorBytes?: Cluster['communicatorBytes']): Cluster => ({
    name: 'test',
    device: deviceByName('h100'),
    devicesPerHost: 2,
    hostLink: linkByName('nvlink4'),
    networkLink: linkByName('nvlink4'),
    communicatorBytes,
  });
  const planned = (where: Cluster, memoryLimitBytes?: number) =>
    buildPlan({
      train: graphAt(4),
      workers: 2,
      mesh: { dp: 2 },
      numMicroBatches: 1,
      optimizer,
      costs: clusterCosts(where, { pp: 1, dp: 2, tp: 1 }),
      memoryLimitBytes,
    });
  const searched = (where: Cluster, memoryLimitBytes: number) =>
    searchLayout({
      traceAt: graphAt,
      workers: 2,
      batchSize: 8,
      cluster: where,
      optimizer,
      memoryLimitBytes,
      pinned: { pp: 1, dp: 2, tp: 1, numMicroBatches: 1 },
    });
  const message = (body: () => unknown): string | undefined => {
    try {
      body();
      return undefined;
    } catch (error) {
      return error instanceof MerakError ? `${error.code} ${error.received}` : String(error);
    }
  };

  it('counts them, and says so', () => {
    const [without, with_] = [planned(cluster()), planned(cluster(bytes))];
    const taken = bytes({ ...mesh, dp: 2 }, 1);
    for (const [rank, plan] of with_.ranks.entries()) {
      expect(rankMemory(plan)).toMatchObject({ communicatorBytes: taken, spaces: { communicators: taken } });
      expect(rankMemory(plan).peakBytes).toBe(rankMemory(without.ranks[rank]!).peakBytes + taken);
    }
    expect(explainPlan(with_)).toMatch(/workspace +NCCL +total\n[^\n]+ 545 MB +546 MB/);
    expect(explainPlan(without)).not.toContain('NCCL');
  });

  it('is refused where they do not fit, by the plan and by the search', () => {
    const limit = rankMemory(planned(cluster()).ranks[0]!).peakBytes + 400 * MIB;
    expect(message(() => planned(cluster(), limit))).toBeUndefined();
    expect(message(() => planned(cluster(bytes), limit))).toMatch(/^plan\/out-of-memory .*mostly communicators 545 MB/);
    expect(message(() => searched(cluster(), limit))).toBeUndefined();
    expect(message(() => searched(cluster(bytes), limit))).toMatch(/^plan\/out-of-memory 54\d MB at the least/);
    expect(message(() => searched(cluster(bytes), 2 * limit))).toBeUndefined();
  });
});
