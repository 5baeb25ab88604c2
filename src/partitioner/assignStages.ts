/** Shards into stages: the exact partition of a chain whose slowest stage is fastest. */
import { MerakError } from '../errors.js';
import { partitionChain, type RunCost } from './partitionChain.js';

/** @throws MerakError 'plan/too-many-stages' when there are fewer shards than (virtual) stages, saying the maximum. */
export function requireShards(numShards: number, numStages: number, numChunks = 1): void {
  if (numStages * numChunks <= numShards) return;
  if (numChunks > 1) {
    const most = Math.floor(numShards / numChunks);
    throw new MerakError(
      'plan/too-many-stages',
      `the model cannot be cut into ${numStages} stages of ${numChunks} chunks`,
      {
        path: 'pp',
        expected: `at most ${numShards} chunks over all stages`,
        received: `${numStages} x ${numChunks} = ${numStages * numChunks}`,
        hint:
          `this model has ${numShards} pieces that can stand alone; use ` +
          `${most >= 1 ? `--pp ${most} or less, ` : ''}fewer chunks, or a schedule with one chunk per stage`,
      },
    );
  }
  throw new MerakError('plan/too-many-stages', `the model cannot be cut into ${numStages} pipeline stages`, {
    path: 'pp',
    expected: `at most ${numShards}`,
    received: String(numStages),
    hint: `this model has ${numShards} pieces that can stand alone; use --pp ${numShards} or less`,
  });
}

/** Stages whose slowest is fastest, and of those the ones whose largest holds fewest bytes; empty when none is possible. */
export function assignByCost(
  numShards: number,
  numStages: number,
  seconds: RunCost,
  bytes: (from: number, to: number) => number,
  lowerBound?: RunCost,
): number[] {
  const { worst } = partitionChain(numShards, numStages, seconds, lowerBound);
  if (worst === Number.POSITIVE_INFINITY) return [];
  const limit = worst * (1 + 1e-9);
  const isSlow = (stage: number, from: number, to: number) =>
    (lowerBound !== undefined && lowerBound(stage, from, to) > limit) || seconds(stage, from, to) > limit;
  const lightest = partitionChain(
    numShards,
    numStages,
    (stage, from, to) => (isSlow(stage, from, to) ? Number.POSITIVE_INFINITY : bytes(from, to)),
    (_, from, to) => bytes(from, to),
  );
  return [...lightest.stageOfShard];
}

/** Bytes of the parameters that shards [from, to) use, each counted once. */
export function parameterBytesOf(
  parameters: readonly (readonly number[])[],
  parameterBytes: readonly number[],
): (from: number, to: number) => number {
  const table = parameters.map((_, from) => {
    const seen = new Set<number>();
    const sums = [0];
    for (let shard = from; shard < parameters.length; shard++) {
      let bytes = sums.at(-1) ?? 0;
      for (const parameter of parameters[shard] ?? []) {
        if (!seen.has(parameter)) bytes += parameterBytes[parameter] ?? 0;
        seen.add(parameter);
      }
      sums.push(bytes);
    }
    return sums;
  });
  return (from, to) => table[from]?.[to - from] ?? 0;
}
