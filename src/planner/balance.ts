/** Which shards make up each virtual stage of the pipeline: by the programs' real costs, under each rank's memory cap. */

import { valueBytes } from '../graph/cost.js';
import type { Graph } from '../graph/graph.js';
import { assignByCost, requireShards } from '../partitioner/assignStages.js';
import type { RunCost } from '../partitioner/partitionChain.js';
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
    shards: profileShards(local, shards, costs, precision),
    parameterBytes: local.parameters.map(({ value }) => valueBytes(tensorType(local, value))),
    trainable: local.parameters.map(({ trainable }) => trainable),
    numMoments,
  });
}

/** Empty only when there are fewer shards than stages. */
export function assignStagesTo(table: StageCosts, conditions: StageConditions, pipelineLink: Link): number[] {
  const { numShards } = table;
  const numStages = numVirtualStages(conditions.schedule);
  const limited: RunCost = (stage, from, to) => {
    const estimate = table.estimate(stage, from, to, conditions);
    return estimate.fits ? stageSeconds(estimate, pipelineLink) : Number.POSITIVE_INFINITY;
  };
  const lowerBound: RunCost = (_, from, to) => table.baseSeconds(from, to);
  const fitting = assignByCost(numShards, numStages, limited, table.parameterBytes, lowerBound);
  if (fitting.length > 0) return fitting;
  const unlimited = { ...conditions, memoryLimitBytes: Number.POSITIVE_INFINITY };
  const regardless: RunCost = (stage, from, to) =>
    stageSeconds(table.estimate(stage, from, to, unlimited), pipelineLink);
  return assignByCost(numShards, numStages, regardless, table.parameterBytes, lowerBound);
}

/** One micro-batch on a stage, its messages included. */
export function stageSeconds(estimate: StageEstimate, link: Link): number {
  const message = (bytes: number) => (bytes === 0 ? 0 : link.latencySeconds + bytes / link.bytesPerSecond);
  return (
    estimate.forwardSeconds +
    estimate.recomputeSeconds +
    estimate.inputGradientSeconds +
    estimate.weightGradientSeconds +
    message(estimate.sentBytes) +
    message(estimate.sentGradientBytes)
  );
}

/** Index of each stage's first shard, and the number of shards at the end. */
export function stageStarts(stageOfShard: readonly number[], numStages: number): number[] {
  return [...Array.from({ length: numStages }, (_, stage) => stageOfShard.indexOf(stage)), stageOfShard.length];
}
