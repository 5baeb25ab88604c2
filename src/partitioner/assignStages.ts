/** Shards into stages: the exact partition of a chain whose slowest stage is fastest. */
import { MerakError } from '../errors.js';
import type { ShardCosts } from './costs.js';
import type { Shards } from './shardGraph.js';

/**
 * Stage of each shard: contiguous runs, none empty, minimising the slowest stage's seconds (boundary traffic included),
 * and among those partitions the largest stage's parameter bytes. Dynamic programming over (stage, shard): exact for
 * any number of layers, O(stages x shards^2).
 *
 * @throws MerakError 'plan/too-many-stages' when there are fewer shards than stages, saying the maximum.
 */
export function assignStages(shards: Shards, costs: ShardCosts, numStages: number): number[] {
  const { numShards } = shards;
  if (numStages > numShards) {
    throw new MerakError('plan/too-many-stages', `the model cannot be cut into ${numStages} pipeline stages`, {
      path: 'pp',
      expected: `at most ${numShards}`,
      received: String(numStages),
      hint: `this model has ${numShards} pieces that can stand alone; use --pp ${numShards} or less`,
    });
  }
  const stageSeconds = secondsOf(costs, numShards, numStages);
  const stageBytes = parameterBytesOf(costs, numShards);
  const fastest = solve(numShards, numStages, stageSeconds);
  const limit = fastest.worst * (1 + 1e-9);
  const lightest = solve(numShards, numStages, (stage, from, to) =>
    stageSeconds(stage, from, to) <= limit ? stageBytes(from, to) : Number.POSITIVE_INFINITY,
  );
  return lightest.stageOfShard;
}

/** The slowest stage of an assignment, in seconds. */
export function slowestStageSeconds(costs: ShardCosts, stageOfShard: readonly number[]): number {
  const numStages = (stageOfShard.at(-1) ?? 0) + 1;
  const seconds = secondsOf(costs, stageOfShard.length, numStages);
  return Math.max(
    ...Array.from({ length: numStages }, (_, stage) =>
      seconds(stage, stageOfShard.indexOf(stage), stageOfShard.lastIndexOf(stage) + 1),
    ),
  );
}

/** Cost of shards [from, to) as one stage. */
type RunCost = (stage: number, from: number, to: number) => number;

function secondsOf(costs: ShardCosts, numShards: number, numStages: number): RunCost {
  const prefix = Array.from({ length: numStages }, (_, stage) => {
    const sums = [0];
    for (let shard = 0; shard < numShards; shard++) {
      sums.push((sums[shard] ?? 0) + (costs.seconds[stage]?.[shard] ?? 0));
    }
    return sums;
  });
  return (stage, from, to) => {
    const compute = (prefix[stage]?.[to] ?? 0) - (prefix[stage]?.[from] ?? 0);
    const before = from > 0 ? (costs.cutSeconds[from - 1] ?? 0) : 0;
    const after = to < numShards ? (costs.cutSeconds[to - 1] ?? 0) : 0;
    return compute + before + after;
  };
}

function parameterBytesOf(costs: ShardCosts, numShards: number): (from: number, to: number) => number {
  const table = Array.from({ length: numShards }, (_, from) => {
    const seen = new Set<number>();
    const sums: number[] = [0];
    for (let shard = from; shard < numShards; shard++) {
      let bytes = sums.at(-1) ?? 0;
      for (const parameter of costs.parameters[shard] ?? []) {
        if (!seen.has(parameter)) bytes += costs.parameterBytes[parameter] ?? 0;
        seen.add(parameter);
      }
      sums.push(bytes);
    }
    return sums;
  });
  return (from, to) => table[from]?.[to - from] ?? 0;
}

/** Min-max partition of shards 0..n into exactly `numStages` non-empty runs. */
function solve(numShards: number, numStages: number, cost: RunCost): { worst: number; stageOfShard: number[] } {
  const best = Array.from({ length: numStages + 1 }, () => new Float64Array(numShards + 1).fill(Number.POSITIVE_INFINITY));
  const from = Array.from({ length: numStages + 1 }, () => new Int32Array(numShards + 1).fill(-1));
  const first = best[0];
  if (first !== undefined) first[0] = 0;
  for (let stage = 1; stage <= numStages; stage++) {
    const [previous, row, choice] = [best[stage - 1], best[stage], from[stage]];
    if (previous === undefined || row === undefined || choice === undefined) continue;
    for (let end = stage; end <= numShards; end++) {
      for (let start = stage - 1; start < end; start++) {
        const worst = Math.max(previous[start] ?? Number.POSITIVE_INFINITY, cost(stage - 1, start, end));
        if (choice[end] === -1 || worst < (row[end] ?? Number.POSITIVE_INFINITY)) {
          row[end] = worst;
          choice[end] = start;
        }
      }
    }
  }
  const stageOfShard = Array.from({ length: numShards }, () => 0);
  let end = numShards;
  for (let stage = numStages; stage >= 1; stage--) {
    const start = from[stage]?.[end] ?? 0;
    stageOfShard.fill(stage - 1, start, end);
    end = start;
  }
  return { worst: best[numStages]?.[numShards] ?? Number.POSITIVE_INFINITY, stageOfShard };
}
