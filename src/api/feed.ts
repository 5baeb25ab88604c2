/** Which part of a batch each rank is fed. */
import type { HostBatch } from '../data/source.js';
import { endStageOf, rankOf } from '../plan/mesh.js';
import type { Executable, Plan, RankPlan } from '../plan/plan.js';
import type { HostArray } from '../runtime/device.js';

/** An executable as loaded on every rank. */
export interface Loaded {
  readonly name: string;
  /** Samples of a whole batch. */
  readonly batchSize: number;
  readonly numMicroBatches: number;
  readonly microBatchSize: number;
  /** Every data replica gets the whole batch: the way for batches that do not divide. Means stay right. */
  readonly everyReplicaSeesAll: boolean;
  /** In rank order. */
  readonly ranks: readonly Executable[];
}

/** How a batch of `size` samples is split: over replicas and micro-batches if it divides, else whole to every replica. */
export function splitBatch(
  size: number,
  dp: number,
  numMicroBatches: number,
): Pick<Loaded, 'numMicroBatches' | 'microBatchSize' | 'everyReplicaSeesAll'> {
  if (size % (dp * numMicroBatches) === 0) {
    return { numMicroBatches, microBatchSize: size / (dp * numMicroBatches), everyReplicaSeesAll: false };
  }
  if (size % dp === 0) return { numMicroBatches: 1, microBatchSize: size / dp, everyReplicaSeesAll: false };
  return { numMicroBatches: 1, microBatchSize: size, everyReplicaSeesAll: true };
}

/** The fields rank `plan`'s stage reads, its replica's samples only. */
export function feedOf(loaded: Loaded, plan: RankPlan, batch: HostBatch): Map<string, HostArray> {
  const replica = loaded.everyReplicaSeesAll ? 0 : plan.coordinates.dp;
  const numSamples = loaded.numMicroBatches * loaded.microBatchSize;
  return new Map(
    loaded.ranks[plan.rank]!.inputs.map(({ name }) => {
      const data = batch.fields.get(name)!;
      const perSample = data.length / batch.size;
      return [name, data.subarray(replica * numSamples * perSample, (replica + 1) * numSamples * perSample)];
    }),
  );
}

/** The rank that reports: the stage where the model ends, first replica, first tensor-parallel rank. */
export function reportingRank(plan: Plan): number {
  return rankOf(plan.mesh, { pp: endStageOf(plan), dp: 0, tp: 0 });
}
