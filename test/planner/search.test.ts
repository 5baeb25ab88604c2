/** The search: what it may choose from, what it prices, what it explains, and what it refuses. */
import { describe, expect, it } from 'vitest';
import { MerakError } from '../../src/errors.js';
import type { Graph } from '../../src/graph/graph.js';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import { gpt } from '../../src/models/gpt.js';
import { simulate } from '../../src/pipeline/simulate.js';
import { rankMemory } from '../../src/plan/memoryReport.js';
import { buildPlan } from '../../src/planner/buildPlan.js';
import { allReduceSeconds } from '../../src/planner/costs/collectives.js';
import { deviceByName } from '../../src/planner/costs/devices.js';
import { linkByName } from '../../src/planner/costs/links.js';
import { planSimulation } from '../../src/planner/costs/planSimulation.js';
import { candidateChoices } from '../../src/planner/search/candidates.js';
import { closedAt, closingOf, gradientBytes } from '../../src/planner/search/closing.js';
import { type Cluster, clusterCosts, localCluster } from '../../src/planner/search/cluster.js';
import { familyOf } from '../../src/planner/search/family.js';
import { searchLayout } from '../../src/planner/search/searchLayout.js';
import { nativeWorkspace } from '../../src/runtime/native/workspace.js';
import { lazy } from '../../src/trace/lazy.js';
import { traceModel } from '../../src/trace/trace.js';

const OPTIMIZER = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: 0 } as const;

function tracer(numLayers: number, hiddenSize: number, length: number, vocabularySize = 512) {
  const model = lazy(() => gpt({ vocabularySize, contextLength: length, numLayers, numHeads: 4, hiddenSize }));
  const fields = ['tokens', 'targets'].map((name) => ({ name, shape: [length], dtype: 'int32' as const }));
  const graphs = new Map<number, Graph>();
  return (microBatchSize: number): Graph => {
    const graph = graphs.get(microBatchSize) ?? optimizeGraph(traceModel(model, 'train', fields, microBatchSize).graph);
    graphs.set(microBatchSize, graph);
    return graph;
  };
}

const gpus = (devicesPerHost: number, network: string): Cluster => ({
  name: 'test',
  device: deviceByName('rtx3090'),
  devicesPerHost,
  hostLink: linkByName('pcie4'),
  networkLink: linkByName(network),
});

function failure(body: () => unknown): MerakError {
  try {
    body();
  } catch (error) {
    if (error instanceof MerakError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const traceAt = tracer(4, 64, 32);

describe('the choices', () => {
  it('fill the workers and the batch, each once', () => {
    const choices = candidateChoices(8, 24, 8, {});
    for (const { mesh, numMicroBatches, microBatchSize } of choices) {
      expect(mesh.pp * mesh.dp * mesh.tp).toBe(8);
      expect(mesh.dp * numMicroBatches * microBatchSize).toBe(24);
    }
    expect(new Set(choices.map((choice) => JSON.stringify(choice))).size).toBe(choices.length);
    expect(new Set(choices.map(familyOf)).size).toBe(7);
  });

  it('leave what is pinned alone, and say when that leaves nothing', () => {
    const pinned = {
      pp: 2,
      dp: 2,
      numMicroBatches: 3,
      schedule: 'scp',
      recompute: 'full',
      shardOptimizer: false,
    } as const;
    expect(candidateChoices(4, 12, 8, pinned)).toEqual([
      {
        mesh: { pp: 2, dp: 2, tp: 1 },
        numMicroBatches: 3,
        microBatchSize: 2,
        schedule: 'scp',
        numChunks: 1,
        recompute: 'full',
        shardOptimizer: false,
        subBatches: 1,
        sequenceParallel: 'off',
      },
    ]);
    expect(failure(() => candidateChoices(4, 12, 8, { pp: 3 })).code).toBe('config/degrees');
    expect(failure(() => candidateChoices(4, 10, 8, { dp: 4, pp: 1 })).code).toBe('config/batch');
  });
});

describe('searchLayout', () => {
  it('finds the fastest of all choices, simulated one by one as plans', () => {
    const cluster = gpus(4, 'eth10');
    const { choice, best, families } = searchLayout({
      traceAt,
      workers: 4,
      batchSize: 4,
      cluster,
      optimizer: OPTIMIZER,
    });
    const measured = candidateChoices(4, 4, 4, {})
      .filter(({ recompute, shardOptimizer }) => recompute === 'none' && !shardOptimizer)
      .map((one) => {
        const costs = clusterCosts(cluster, one.mesh);
        const plan = buildPlan({ ...one, train: traceAt(one.microBatchSize), optimizer: OPTIMIZER, costs });
        return { one, seconds: simulate(planSimulation(plan, costs)).stepSeconds };
      });
    const fastest = Math.min(...measured.map(({ seconds }) => seconds));
    const chosen = measured.find(({ one }) => JSON.stringify(one) === JSON.stringify(choice));
    expect(chosen?.seconds).toBeLessThanOrEqual(1.05 * fastest);
    // Blocks are costed, so estimates and lowered plans agree.
    expect(Math.abs(best.stepSeconds / chosen!.seconds - 1)).toBeLessThan(0.1);
    const rest = families.slice(1).map(({ stepSeconds }) => stepSeconds);
    expect(rest).toEqual([...rest].sort((x, y) => x - y));
    expect(best.stepSeconds).toBeLessThanOrEqual(1.01 * Math.min(...rest));
  });

  it('spreads over the slow network by stages and replicas rather than by tensor ranks', () => {
    const { explanation, families } = searchLayout({
      traceAt: tracer(4, 256, 64),
      workers: 4,
      batchSize: 16,
      cluster: gpus(1, 'eth10'),
      optimizer: OPTIMIZER,
    });
    expect(familyOf(families[0]!.choice)).not.toContain('tensor');
    expect(explanation).toMatch(/^for test/);
    expect(explanation).toMatch(/tensor ranks meeting in every layer/);
  });

  it('knows that workers beyond the cores do not compute faster', () => {
    const one = searchLayout({
      traceAt,
      workers: 1,
      batchSize: 8,
      cluster: localCluster(1, 2, 4e9),
      optimizer: OPTIMIZER,
    });
    const eight = searchLayout({
      traceAt,
      workers: 8,
      batchSize: 8,
      cluster: localCluster(8, 2, 4e9),
      optimizer: OPTIMIZER,
    });
    expect(eight.best.stepSeconds).toBeGreaterThan(0.9 * one.best.stepSeconds);
  });

  it('recomputes, or cuts deeper, when memory is short, and what it promises fits when planned exactly', () => {
    const request = {
      traceAt: tracer(4, 32, 64, 64),
      workers: 2,
      batchSize: 16,
      cluster: gpus(2, 'eth10'),
      optimizer: OPTIMIZER,
    };
    const pinned = { pp: 2, numMicroBatches: 8, schedule: '1f1b' };
    const [none, full] = (['none', 'full'] as const).map(
      (recompute) => searchLayout({ ...request, pinned: { ...pinned, recompute } }).best.peakBytes,
    );
    expect(full!).toBeLessThan(none!);
    const memoryLimitBytes = Math.floor((full! + none!) / 2);
    const { choice, best } = searchLayout({ ...request, pinned, memoryLimitBytes });
    expect(choice.recompute).toBe('auto');
    expect(best.recomputeSeconds).toBeGreaterThan(0);
    const plan = buildPlan({
      ...choice,
      train: request.traceAt(choice.microBatchSize),
      optimizer: OPTIMIZER,
      memoryLimitBytes,
      costs: clusterCosts(request.cluster, choice.mesh),
    });
    for (const rank of plan.ranks) expect(rankMemory(rank).peakBytes).toBeLessThanOrEqual(memoryLimitBytes);
  });

  it('reduces over replicas and over stages that share a table what the plan reduces', () => {
    const request = { traceAt, workers: 4, batchSize: 8, cluster: gpus(4, 'eth10'), optimizer: OPTIMIZER };
    const pinned = { pp: 2, dp: 2, numMicroBatches: 4, schedule: '1f1b', recompute: 'none' } as const;
    const { choice, best } = searchLayout({ ...request, pinned: { ...pinned, shardOptimizer: false } });
    const { shared, stageOfShard, schedule, stages } = best.staged;
    const { own, tied } = gradientBytes(shared, stageOfShard, schedule, stages);
    const costs = clusterCosts(request.cluster, choice.mesh);
    const plan = buildPlan({ ...choice, train: traceAt(choice.microBatchSize), optimizer: OPTIMIZER, costs });
    expect(tied.map((one) => one.stages)).toEqual([[0, 1]]);
    for (const stage of [0, 1]) {
      const rank = plan.ranks.find(({ coordinates }) => coordinates.pp === stage)!;
      const bytesOf = (axis: string) =>
        rank.gradientBuckets
          .filter(({ group }) => rank.groups[group]!.axis === axis)
          .reduce((sum, { length }) => sum + 4 * length, 0);
      // Buckets are padded to cache lines, parameter by parameter.
      const padding = 64 * rank.parameters.length;
      expect(Math.abs(bytesOf('dp') - own[stage]!)).toBeLessThanOrEqual(padding);
      expect(Math.abs(bytesOf('tie') - tied[0]!.bytes)).toBeLessThanOrEqual(padding);
    }
    const closing = closingOf(best.staged, OPTIMIZER);
    const [first, second] = closedAt(closing, [0, 1]);
    // Both wait for the later one, reduce the table over four ranks, and update.
    const { tiedLink } = costs;
    const table = allReduceSeconds(tied[0]!.bytes, 4, tiedLink);
    const before = 1 + allReduceSeconds(own[1]!, 2, costs.dataLink);
    expect(first).toBeCloseTo(before + table + closing.updateSeconds[0]!, 9);
    expect(second).toBeCloseTo(before + table + closing.updateSeconds[1]!, 9);
  });

  it('counts what kernels take beside the arenas', () => {
    const traced = tracer(4, 128, 64, 64);
    const workspaceOf = nativeWorkspace(1);
    const request = { traceAt: traced, workers: 2, batchSize: 16, cluster: gpus(2, 'eth10'), optimizer: OPTIMIZER };
    for (const recompute of ['none', 'full'] as const) {
      const pinned = { pp: 2, numMicroBatches: 8, schedule: '1f1b', recompute };
      const without = searchLayout({ ...request, pinned });
      // They are asked for where memory may be short.
      const memoryLimitBytes = Math.floor(1.8 * without.best.peakBytes);
      const { choice, best } = searchLayout({ ...request, pinned, memoryLimitBytes, workspaceOf });
      expect(searchLayout({ ...request, pinned, workspaceOf }).best.peakBytes).toBe(without.best.peakBytes);
      const costs = clusterCosts(request.cluster, choice.mesh);
      const train = traced(choice.microBatchSize);
      const plan = buildPlan({ ...choice, train, optimizer: OPTIMIZER, costs, workspaceOf });
      const exact = plan.ranks.map(rankMemory);
      const [peak, taken] = [exact.map((one) => one.peakBytes), exact.map((one) => one.workspaceBytes)].map((of) =>
        Math.max(...of),
      );
      expect(taken).toBeGreaterThan(0.05 * peak!);
      expect(best.peakBytes - without.best.peakBytes).toBeGreaterThan(0.9 * taken!);
      expect(Math.abs(best.peakBytes / peak! - 1)).toBeLessThan(0.1);
    }
  });

  it('looks at no micro-batches without a pipeline where the batch fits', () => {
    const sizes: number[] = [];
    const request = {
      traceAt: (size: number) => {
        sizes.push(size);
        return traceAt(size);
      },
      workers: 2,
      batchSize: 8,
      cluster: gpus(2, 'eth10'),
      optimizer: OPTIMIZER,
      pinned: { dp: 2 },
    };
    expect(searchLayout(request).choice).toMatchObject({ numMicroBatches: 1, microBatchSize: 4, recompute: 'none' });
    expect(sizes).toEqual([4]);
    const least = searchLayout({ ...request, pinned: { dp: 2, numMicroBatches: 4 } }).best.peakBytes;
    expect(searchLayout({ ...request, memoryLimitBytes: 1.01 * least }).choice.numMicroBatches).toBeGreaterThan(1);
  });

  it('splits the optimizer state over replicas where that makes room', () => {
    const request = { traceAt, workers: 4, batchSize: 8, cluster: gpus(4, 'eth10'), optimizer: OPTIMIZER };
    const pinned = { dp: 4, recompute: 'none' } as const;
    const whole = searchLayout({ ...request, pinned });
    expect(whole.choice.shardOptimizer).toBe(false);
    const memoryLimitBytes = whole.best.peakBytes - 1000;
    const { choice } = searchLayout({ ...request, pinned: { ...pinned, numMicroBatches: 1 }, memoryLimitBytes });
    expect(choice.shardOptimizer).toBe(true);
    const plan = buildPlan({ ...choice, train: traceAt(2), optimizer: OPTIMIZER, memoryLimitBytes });
    expect(plan.ranks).toHaveLength(4);
  });

  it('refuses what fits nowhere, and stages that do not exist', () => {
    const request = { traceAt, workers: 2, batchSize: 4, cluster: gpus(2, 'eth10'), optimizer: OPTIMIZER };
    const starved = failure(() => searchLayout({ ...request, memoryLimitBytes: 1000 }));
    expect(starved.code).toBe('plan/out-of-memory');
    expect(starved.hint).toMatch(/workers/);
    const deep = failure(() => searchLayout({ ...request, workers: 64, batchSize: 64, pinned: { pp: 64 } }));
    expect(deep.code).toBe('plan/too-many-stages');
  });
});
