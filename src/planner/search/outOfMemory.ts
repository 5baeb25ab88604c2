/** When nothing fits: what comes closest, and the smallest number of workers on which something would. */
import { MerakError } from '../../errors.js';
import { formatBytes } from '../../plan/memoryReport.js';
import { candidateChoices, type LayoutChoice } from './candidates.js';
import { clusterCosts } from './cluster.js';
import { type Staged, stage } from './evaluate.js';
import { describeChoice } from './family.js';
import type { ScheduleCache } from './schedules.js';
import type { Impossible, SearchRequest } from './searchLayout.js';
import type { Tables } from './tables.js';

/** Workers are multiplied by these until something fits. */
const FACTORS = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

export function outOfMemory(
  request: SearchRequest,
  limitBytes: number,
  impossible: readonly Impossible[],
  tables: Tables,
): MerakError {
  const [closest] = impossible;
  const needs = closest === undefined ? 'more' : formatBytes(closest.leastBytes);
  const enough = smallestThatFits(request, limitBytes, tables);
  const more =
    enough === undefined
      ? `no number of workers up to ${(FACTORS.at(-1) ?? 1) * request.workers} fits this batch with so little memory`
      : `${enough.workers} such workers would do (${describeChoice(enough.staged.choice)}: ${formatBytes(enough.staged.peakBytes)} each)`;
  return new MerakError('plan/out-of-memory', 'no way to train this model fits the workers', {
    path: request.cluster.name,
    expected: `at most ${formatBytes(limitBytes)} per worker`,
    received: `${needs} at the least, with ${closest === undefined ? 'any layout' : describeChoice(closest.choice)}`,
    hint: `${more}; or use workers with ${needs}, or a smaller batch${request.precision === 'bf16' || request.precision === 'f16' ? '' : ', or bf16'}`,
  });
}

function smallestThatFits(
  request: SearchRequest,
  limitBytes: number,
  tables: Tables,
): { readonly workers: number; readonly staged: Staged } | undefined {
  const schedules: ScheduleCache = new Map();
  for (const factor of FACTORS) {
    const workers = factor * request.workers;
    for (const choice of thriftiest(request, workers, tables)) {
      const table = tables.tableOf(choice);
      if (table === undefined) continue;
      const staged = stage(choice, table, clusterCosts(request.cluster, choice.mesh), limitBytes, schedules);
      if (staged.fits) return { workers, staged };
    }
  }
  return undefined;
}

/** Choices that save memory in every way, deepest pipeline first; one micro-batch size each. */
function thriftiest({ batchSize, cluster, pinned }: SearchRequest, workers: number, tables: Tables): LayoutChoice[] {
  const { pp: _pp, dp: _dp, tp: _tp, ...others } = pinned ?? {};
  const asked = { recompute: 'auto', schedule: '1f1b', subBatches: 1, ...others } as const;
  try {
    const all = candidateChoices(workers, batchSize, cluster.devicesPerHost, asked).filter(
      ({ mesh, numChunks, microBatchSize, shardOptimizer }) =>
        (shardOptimizer || mesh.dp === 1 || asked.shardOptimizer === false) &&
        mesh.pp * numChunks <= tables.numCleanShards(microBatchSize),
    );
    const least = Math.min(...all.map(({ microBatchSize }) => microBatchSize));
    return all.filter(({ microBatchSize }) => microBatchSize === least).sort((a, b) => b.mesh.pp - a.mesh.pp);
  } catch (error) {
    // So many workers do not share this batch.
    if (error instanceof MerakError) return [];
    throw error;
  }
}
