/** The exact partition of a chain: contiguous runs, one per stage, whose slowest is as fast as can be. */

/** Cost of shards [from, to) as stage `stage`; Infinity: impossible. */
export type RunCost = (stage: number, from: number, to: number) => number;

export interface ChainPartition {
  /** Of the slowest stage; Infinity when every partition has an impossible stage. */
  readonly worst: number;
  /** Per shard, never decreasing. Empty when there is no possible partition. */
  readonly stageOfShard: readonly number[];
}

/**
 * Min-max partition of shards 0..n into exactly `numStages` non-empty runs, by dynamic programming over (stage, end):
 * O(stages x shards^2) costs at most. `lowerBound`, when given, never exceeds the cost and never falls as a run grows to
 * the front, so longer runs are left out once it passes the best found.
 */
export function partitionChain(
  numShards: number,
  numStages: number,
  cost: RunCost,
  lowerBound?: RunCost,
): ChainPartition {
  const best = Array.from({ length: numStages + 1 }, () =>
    new Float64Array(numShards + 1).fill(Number.POSITIVE_INFINITY),
  );
  const from = Array.from({ length: numStages + 1 }, () => new Int32Array(numShards + 1).fill(-1));
  const start = best[0];
  if (start !== undefined) start[0] = 0;
  for (let stage = 1; stage <= numStages; stage++) {
    const [previous, row, choice] = [best[stage - 1], best[stage], from[stage]];
    if (previous === undefined || row === undefined || choice === undefined) continue;
    // Every later stage needs a shard of its own.
    for (let end = stage; end <= numShards - (numStages - stage); end++) {
      let least = Number.POSITIVE_INFINITY;
      for (let first = end - 1; first >= stage - 1; first--) {
        if (lowerBound !== undefined && lowerBound(stage - 1, first, end) >= least) break;
        const before = previous[first] ?? Number.POSITIVE_INFINITY;
        if (before >= least) continue;
        const worst = Math.max(before, cost(stage - 1, first, end));
        if (worst < least) {
          least = worst;
          choice[end] = first;
        }
      }
      row[end] = least;
    }
  }
  const worst = best[numStages]?.[numShards] ?? Number.POSITIVE_INFINITY;
  if (worst === Number.POSITIVE_INFINITY) return { worst, stageOfShard: [] };
  const stageOfShard = Array.from({ length: numShards }, () => 0);
  let end = numShards;
  for (let stage = numStages; stage >= 1; stage--) {
    const first = from[stage]?.[end] ?? 0;
    stageOfShard.fill(stage - 1, first, end);
    end = first;
  }
  return { worst, stageOfShard };
}
