/** Which shards make up each virtual stage of the pipeline: by the programs' real costs, under each rank's memory cap. */

import { valueBytes } from '../graph/cost.js';
import type { Graph } from '../graph/graph.js';
import { assignByCost, requireShards } from '../partitioner/assignStages.js';
import { partitionChain, type RunCost } from '../partitioner/partitionChain.js';
import { tensorType } from '../partitioner/producers.js';
import type { Shards } from '../partitioner/shardGraph.js';
import type { Link } from '../pipeline/network.js';
import { numVirtualStages } from '../pipeline/virtualStages.js';
import type { ClusterCosts } from './costs/planSimulation.js';
import type { ProgramCosts } from './costs/programSeconds.js';
import type { Precision } from './fuse.js';
import { profileShards } from './shardProfile.js';
import { type StageConditions, type StageCosts, type StageEstimate, stageCosts } from './stageCosts.js';

export interface Balance extends StageConditions {
  readonly costs: ClusterCosts;
  /** Moments the optimizer keeps per trained parameter. */
  readonly numMoments: number;
  readonly precision?: Precision | undefined;
}

/**
 * Per shard, its virtual stage. The slowest stage is as fast as it can be when each stage recomputes what it must to fit (mode
 * `auto`) and pays for its messages; embedding and head weigh in like everything else. When no partition fits, the fastest
 * regardless of memory: the plan's exact memory map then says what is missing.
 *
 * @throws MerakError 'plan/too-many-stages'.
 */
export function balanceStages(local: Graph, shards: Shards, tensorRanks: number, balance: Balance): number[] {
  requireShards(shards.numShards, balance.schedule.numStages, balance.schedule.numChunks);
  const { operators, tensorLink, pipelineLink } = balance.costs;
  const table = stageTable(
    local,
    shards,
    { operators, tensorLink, tensorRanks },
    balance.numMoments,
    balance.precision,
  );
  return assignStagesTo(table, balance, pipelineLink);
}

/** The stage costs of a graph's runs of shards. */
export function stageTable(
  local: Graph,
  shards: Shards,
  costs: ProgramCosts,
  numMoments: number,
  precision?: Precision,
): StageCosts {
  return stageCosts({
    shards: profileShards(local, shards, costs, { precision }),
    parameterBytes: local.parameters.map(({ value }) => valueBytes(tensorType(local, value))),
    trainable: local.parameters.map(({ trainable }) => trainable),
    numMoments,
  });
}

/** Empty only when there are fewer shards than stages. */
export function assignStagesTo(table: StageCosts, conditions: StageConditions, pipelineLink: Link): number[] {
  const { numShards } = table;
  const numStages = numVirtualStages(conditions.schedule);
  const { seconds, lowerBound } = limitedCosts(table, conditions, pipelineLink);
  const fitting = assignByCost(numShards, numStages, seconds, table.parameterBytes, lowerBound);
  if (fitting.length > 0) return fitting;
  const unlimited = { ...conditions, memoryLimitBytes: Number.POSITIVE_INFINITY };
  const regardless: RunCost = (stage, from, to) =>
    stageSeconds(table.estimate(stage, from, to, unlimited), pipelineLink);
  const base: RunCost = (_, from, to) => table.baseSeconds(from, to);
  return assignByCost(numShards, numStages, regardless, table.parameterBytes, base);
}

/** As `assignStagesTo`, or empty where nothing fits or some stage must work longer than `mostSeconds` per micro-batch. */
export function assignWithin(
  table: StageCosts,
  conditions: StageConditions,
  pipelineLink: Link,
  mostSeconds: number,
): readonly number[] {
  const { seconds, lowerBound } = limitedCosts(table, conditions, pipelineLink);
  const bound: RunCost = (stage, from, to) =>
    table.baseSeconds(from, to) > mostSeconds ? Number.POSITIVE_INFINITY : lowerBound(stage, from, to);
  return partitionChain(table.numShards, numVirtualStages(conditions.schedule), seconds, bound).stageOfShard;
}

/** Seconds of runs of shards, Infinity where they do not fit. */
function limitedCosts(table: StageCosts, conditions: StageConditions, link: Link) {
  // A run that cannot fit whatever it keeps cannot with another shard either.
  const budget = conditions.memoryLimitBytes / (conditions.schedule.numChunks ?? 1);
  const seconds: RunCost = (stage, from, to) => {
    const estimate = table.estimate(stage, from, to, conditions);
    return estimate.fits ? stageSeconds(estimate, link) : Number.POSITIVE_INFINITY;
  };
  const lowerBound: RunCost = (stage, from, to) =>
    table.leastBytes(stage, from, to, conditions) > budget ? Number.POSITIVE_INFINITY : table.baseSeconds(from, to);
  return { seconds, lowerBound };
}

const freely = new WeakMap<StageCosts, Map<string, number[]>>();

/** As `assignStagesTo` without recomputation and without a limit of memory; found once per table, count and link. */
export function assignFreely(table: StageCosts, numStages: number, link: Link): number[] {
  const known = freely.get(table) ?? new Map<string, number[]>();
  freely.set(table, known);
  const key = `${numStages} ${link.latencySeconds} ${link.bytesPerSecond}`;
  const seconds: RunCost = (_, from, to) =>
    table.baseSeconds(from, to) +
    messageSeconds(table.sentBytes(to), link) +
    messageSeconds(table.sentGradientBytes(from), link);
  const lowerBound: RunCost = (_, from, to) => table.baseSeconds(from, to);
  const assigned =
    known.get(key) ?? assignByCost(table.numShards, numStages, seconds, table.parameterBytes, lowerBound);
  known.set(key, assigned);
  return assigned;
}

/** One micro-batch on a stage, its messages included. */
export function stageSeconds(estimate: StageEstimate, link: Link): number {
  return (
    estimate.forwardSeconds +
    estimate.recomputeSeconds +
    estimate.inputGradientSeconds +
    estimate.weightGradientSeconds +
    messageSeconds(estimate.sentBytes, link) +
    messageSeconds(estimate.sentGradientBytes, link)
  );
}

function messageSeconds(bytes: number, { latencySeconds, bytesPerSecond }: Link): number {
  return bytes === 0 ? 0 : latencySeconds + bytes / bytesPerSecond;
}

/** Index of each stage's first shard, and the number of shards at the end. */
export function stageStarts(stageOfShard: readonly number[], numStages: number): number[] {
  return [...Array.from({ length: numStages }, (_, stage) => stageOfShard.indexOf(stage)), stageOfShard.length];
}
