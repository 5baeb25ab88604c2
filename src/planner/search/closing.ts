/** What a step ends with: gradients summed over replicas, and over stages that share parameters; then the update. */
import type { Link } from '../../pipeline/network.js';
import { type ChunkLayout, placeOf } from '../../pipeline/virtualStages.js';
import type { OptimizerPlan } from '../../plan/plan.js';
import { allReduceSeconds } from '../costs/collectives.js';
import { updateSeconds } from '../costs/update.js';
import type { SharedParameter, StageEstimate } from '../stageCosts.js';
import { workersPerCore } from './cluster.js';
import type { Staged } from './evaluate.js';

export interface Reduction {
  readonly name: string;
  /** That meet in it. */
  readonly stages: readonly number[];
  /** Of one rank. */
  readonly bytes: number;
  readonly numRanks: number;
  readonly link: Link;
}

export interface Closing {
  /** Every stage takes part in its own in this order. */
  readonly reductions: readonly Reduction[];
  /** By stage. */
  readonly updateSeconds: readonly number[];
}

export function closingOf(
  { choice, costs, schedule, stageOfShard, stages, shared }: Staged,
  optimizer: OptimizerPlan,
): Closing {
  const { mesh, shardOptimizer } = choice;
  const { own, tied } = gradientBytes(shared, stageOfShard, schedule, stages);
  const replicas = own.map((bytes, stage): Reduction => {
    return { name: `gradients ${stage}`, stages: [stage], bytes, numRanks: mesh.dp, link: costs.dataLink };
  });
  const ties = tied.map(({ stages: members, bytes }): Reduction => {
    const numRanks = members.length * mesh.dp;
    return { name: `tied ${members.join('+')}`, stages: members, bytes, numRanks, link: costs.tiedLink };
  });
  const pieces = shardOptimizer ? mesh.dp : 1;
  return {
    reductions: [...replicas, ...ties].filter(({ bytes, numRanks }) => bytes > 0 && numRanks > 1),
    updateSeconds: own.map((bytes, stage) => {
      const ties = tied.reduce((sum, one) => sum + (one.stages.includes(stage) ? one.bytes : 0), 0);
      return workersPerCore(costs, mesh) * updateSeconds((bytes + ties) / pieces, optimizer, costs.device);
    }),
  };
}

/** When each stage is through, from when each ends its last task. */
export function closedAt({ reductions, updateSeconds: updates }: Closing, ends: ArrayLike<number>): number[] {
  const at = Array.from(ends);
  for (const { stages, bytes, numRanks, link } of reductions) {
    const together = Math.max(...stages.map((stage) => at[stage] ?? 0)) + allReduceSeconds(bytes, numRanks, link);
    for (const stage of stages) at[stage] = together;
  }
  return at.map((end, stage) => end + (updates[stage] ?? 0));
}

/** Bytes that a stage's replicas reduce among themselves, and those that several stages reduce together. */
export function gradientBytes(
  shared: readonly SharedParameter[],
  stageOfShard: readonly number[],
  layout: ChunkLayout,
  stages: readonly Pick<StageEstimate, 'trainableBytes'>[],
): { own: number[]; tied: { readonly stages: readonly number[]; readonly bytes: number }[] } {
  const own = Array.from({ length: layout.numStages }, () => 0);
  const count = (stage: number, bytes: number) => {
    own[stage] = (own[stage] ?? 0) + bytes;
  };
  stages.forEach(({ trainableBytes }, virtual) => {
    count(placeOf(layout, virtual).stage, trainableBytes);
  });
  const tied = new Map<string, { readonly stages: readonly number[]; readonly bytes: number }>();
  for (const { shards, bytes } of shared) {
    const virtual = [...new Set(shards.map((shard) => stageOfShard[shard] ?? 0))];
    const places = virtual.map((one) => placeOf(layout, one).stage);
    const members = [...new Set(places)].sort((a, b) => a - b);
    // Each of a stage's chunks counted it; the stage has one gradient.
    for (const stage of places) count(stage, -bytes);
    if (members.length === 1) count(members[0] ?? 0, bytes);
    else {
      const key = members.join();
      tied.set(key, { stages: members, bytes: bytes + (tied.get(key)?.bytes ?? 0) });
    }
  }
  return { own, tied: [...tied.values()] };
}
