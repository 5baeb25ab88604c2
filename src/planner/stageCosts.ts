/** What any run of shards costs as a pipeline stage: its seconds, its bytes, and what it recomputes to fit. */
import { parameterBytesOf } from '../partitioner/assignStages.js';
import type { InFlight } from '../pipeline/check.js';
import { recomputingStages } from '../pipeline/recomputingStages.js';
import type { Schedule, Task } from '../pipeline/schedule.js';
import { numVirtualStages, placeOf } from '../pipeline/virtualStages.js';
import { align } from '../plan/memory.js';
import type { RecomputeMode } from '../recompute/saved.js';
import type { ShardProfile } from './shardProfile.js';

/** One micro-batch on one virtual stage. */
export interface StageEstimate {
  readonly forwardSeconds: number;
  readonly recomputeSeconds: number;
  readonly inputGradientSeconds: number;
  readonly weightGradientSeconds: number;
  /** Of forward and gradients: meeting the other tensor ranks. */
  readonly exchangeSeconds: number;
  /** Of the rank, for this virtual stage; Infinity in seconds and the least it could do here when it does not fit. */
  readonly bytes: number;
  readonly fits: boolean;
  readonly trainableBytes: number;
  readonly sentBytes: number;
  readonly sentGradientBytes: number;
}

export interface StageCostsInput {
  readonly shards: readonly ShardProfile[];
  /** Per parameter of the graph: bytes on this rank, and whether it is trained. */
  readonly parameterBytes: readonly number[];
  readonly trainable: readonly boolean[];
  readonly numMoments: number;
}

/** A trained parameter that several shards use: a tied embedding, a recurrence. */
export interface SharedParameter {
  readonly bytes: number;
  readonly shards: readonly number[];
}

export interface StageConditions {
  readonly schedule: Schedule;
  /** By virtual stage. */
  readonly inFlight: InFlight;
  readonly recompute: RecomputeMode;
  /** Per rank, for the plan's training alone; its chunks have equal parts of it. */
  readonly memoryLimitBytes: number;
  /** Replicas that split the optimizer state among them (ZeRO-1). Default 1. */
  readonly optimizerPieces?: number;
}

export interface StageCosts {
  readonly numShards: number;
  readonly shared: readonly SharedParameter[];
  /** Seconds without recomputation: never falls as a run grows. */
  baseSeconds(from: number, to: number): number;
  parameterBytes(from: number, to: number): number;
  /** What a stage that ends before shard `to` sends on, and one that begins with shard `from` sends back. */
  sentBytes(to: number): number;
  sentGradientBytes(from: number): number;
  /** Seconds of meeting the tensor ranks, within `baseSeconds`. */
  exchangeSeconds(from: number, to: number): number;
  /** Bytes that no choice of what to keep can save; never fewer for a longer run. */
  leastBytes(stage: number, from: number, to: number, conditions: StageConditions): number;
  /** Of shards [from, to) as a virtual stage. */
  estimate(stage: number, from: number, to: number, conditions: StageConditions): StageEstimate;
}

/** Sent and received gradients go round in two slots (plan/instructions.ts). */
const MESSAGE_SLOTS = 2;

/**
 * Sums over shards, so that a run is priced in time that does not grow with its length: profiles of shards add up, but for
 * the values that cross between two shards of one stage, which then stay inside it. With k micro-batches in flight, N
 * bytes needed by backward and K of them kept, they take N + (k - 1) K; what has to go is dropped where recomputing costs
 * least per byte, over all shards of the run.
 */
export function stageCosts(input: StageCostsInput): StageCosts {
  const { shards } = input;
  const sum = (of: (shard: ShardProfile) => number) => prefixSums(shards.map(of));
  const forward = sum(({ forwardSeconds }) => forwardSeconds);
  const inputGradient = sum(({ inputGradientSeconds }) => inputGradientSeconds);
  const weightGradient = sum(({ weightGradientSeconds }) => weightGradientSeconds);
  const exchange = sum(({ exchangeSeconds }) => exchangeSeconds);
  const needed = sum(({ neededBytes, receivedNeededBytes }) => neededBytes + receivedNeededBytes);
  const constants = sum(({ constantBytes }) => constantBytes);
  const pending = sum(({ pendingBytes }) => pendingBytes);
  const batch = runMaximum(shards.map(({ batchBytes }) => batchBytes));
  const scratch = runMaximum(
    shards.map((shard) => shard.scratchBytes + shard.receivedBytes + shard.receivedGradientBytes),
  );
  const allParameters = parameterBytesOf(
    shards.map(({ parameters }) => parameters),
    input.parameterBytes,
  );
  const trainedParameters = parameterBytesOf(
    shards.map(({ parameters }) => parameters.filter((parameter) => input.trainable[parameter])),
    input.parameterBytes,
  );
  let kernels: WorkspaceSums | undefined;
  const classes = dropClasses(shards);
  const over = (sums: Float64Array, from: number, to: number) => (sums[to] ?? 0) - (sums[from] ?? 0);
  const baseSeconds = (from: number, to: number) =>
    over(forward, from, to) + over(inputGradient, from, to) + over(weightGradient, from, to);

  /** Seconds of making `bytes` of the run again, at the least. */
  const dropSeconds = (from: number, to: number, bytes: number): number => {
    let [left, seconds] = [bytes, 0];
    for (const { ratio, sums } of classes) {
      if (left <= 0) break;
      const dropped = Math.min(left, over(sums, from, to));
      seconds += dropped * ratio;
      left -= dropped;
    }
    return left > 1e-6 * bytes ? Number.POSITIVE_INFINITY : seconds;
  };

  const persistentBytes = (from: number, to: number, { optimizerPieces = 1 }: StageConditions) =>
    allParameters(from, to) + trainedParameters(from, to) * (1 + input.numMoments / optimizerPieces);
  const neededBytes = (from: number, to: number) => over(needed, from, to) - (shards[from]?.receivedNeededBytes ?? 0);

  const leastBytes = (stage: number, from: number, to: number, conditions: StageConditions): number => {
    const copies = conditions.recompute === 'none' ? Math.max(1, conditions.inFlight.held[stage] ?? 1) : 1;
    return persistentBytes(from, to, conditions) + over(constants, from, to) + copies * neededBytes(from, to);
  };

  const estimate = (stage: number, from: number, to: number, conditions: StageConditions): StageEstimate => {
    const { inFlight, recompute, schedule } = conditions;
    const { name, numMicroBatches, numChunks = 1 } = schedule;
    const memoryLimitBytes = conditions.memoryLimitBytes / numChunks;
    const held = Math.max(1, inFlight.held[stage] ?? 1);
    const splitsWeights = hasWeights(schedule.stages[placeOf(schedule, stage).stage] ?? []);
    const [first, last] = [shards[from], shards[to - 1]];
    const trainableBytes = trainedParameters(from, to);
    const slots = Math.min(MESSAGE_SLOTS, numMicroBatches);
    const backwardBytes = neededBytes(from, to);
    const arenas =
      persistentBytes(from, to, conditions) +
      over(constants, from, to) +
      held * (batch(from, to) + (first?.receivedBytes ?? 0)) +
      slots * ((last?.sentBytes ?? 0) + (first?.sentGradientBytes ?? 0) + (last?.receivedGradientBytes ?? 0)) +
      scratch(from, to) +
      (splitsWeights ? over(pending, from, to) * Math.max(1, held - (inFlight.forward[stage] ?? held)) : 0);
    const forwardSeconds = over(forward, from, to);
    // Where there is twice the room, kernels' workspace is not asked for.
    const isShort = 2 * (arenas + held * backwardBytes) > memoryLimitBytes;
    if (isShort) kernels ??= workspaceSums(shards);
    const taken = isShort && kernels !== undefined ? kernels : NO_KERNELS;
    const weights = taken.rounded(from, to) + (numMicroBatches > 1 ? taken.kept(from, to) : 0);
    const fixed = arenas + taken.scratch(from, to) + weights;
    const again = numMicroBatches > 1 ? taken.recomputing(from, to) : 0;
    const atMost = memoryLimitBytes - fixed - backwardBytes;
    let kept = backwardBytes;
    let recomputeSeconds = 0;
    if (recompute === 'full' && recomputingStages(name, numVirtualStages(schedule))[stage] === true) {
      kept = 0;
      recomputeSeconds = forwardSeconds;
    } else if (recompute === 'auto' && held > 1 && (held - 1) * backwardBytes > atMost) {
      kept = Math.max(0, (atMost - again) / (held - 1));
      recomputeSeconds = Math.min(forwardSeconds, dropSeconds(from, to, backwardBytes - kept));
    }
    const bytes = fixed + backwardBytes + (held - 1) * kept + (kept < backwardBytes ? again : 0);
    return {
      forwardSeconds,
      recomputeSeconds,
      inputGradientSeconds: over(inputGradient, from, to),
      weightGradientSeconds: over(weightGradient, from, to),
      exchangeSeconds: over(exchange, from, to),
      bytes: align(bytes),
      fits: bytes <= memoryLimitBytes,
      trainableBytes,
      sentBytes: last?.sentBytes ?? 0,
      sentGradientBytes: first?.sentGradientBytes ?? 0,
    };
  };
  return {
    numShards: shards.length,
    shared: sharedParameters(input),
    baseSeconds,
    parameterBytes: allParameters,
    sentBytes: (to) => shards[to - 1]?.sentBytes ?? 0,
    sentGradientBytes: (from) => shards[from]?.sentGradientBytes ?? 0,
    exchangeSeconds: (from, to) => over(exchange, from, to),
    leastBytes,
    estimate,
  };
}

type OfRun = (from: number, to: number) => number;

/** What kernels take beside the arenas, by runs of shards. */
interface WorkspaceSums {
  readonly scratch: OfRun;
  readonly kept: OfRun;
  readonly recomputing: OfRun;
  readonly rounded: OfRun;
}

const NO_KERNELS: WorkspaceSums = { scratch: () => 0, kept: () => 0, recomputing: () => 0, rounded: () => 0 };

function workspaceSums(shards: readonly ShardProfile[]): WorkspaceSums {
  const all = shards.map(({ workspace }) => workspace());
  const total = (values: readonly number[]): OfRun => {
    const sums = prefixSums(values);
    return (from, to) => (sums[to] ?? 0) - (sums[from] ?? 0);
  };
  return {
    scratch: runMaximum(all.map(({ scratchBytes }) => scratchBytes)),
    kept: total(all.map(({ keptBytes }) => keptBytes)),
    recomputing: total(all.map(({ recomputingBytes }) => recomputingBytes)),
    rounded: total(all.map(({ roundedBytes }) => roundedBytes)),
  };
}

function sharedParameters({ shards, parameterBytes, trainable }: StageCostsInput): SharedParameter[] {
  const users = parameterBytes.map((): number[] => []);
  shards.forEach(({ parameters }, shard) => {
    for (const parameter of new Set(parameters)) users[parameter]?.push(shard);
  });
  return users.flatMap((using, parameter): SharedParameter[] => {
    if (using.length < 2 || trainable[parameter] !== true) return [];
    return [{ bytes: parameterBytes[parameter] ?? 0, shards: using }];
  });
}

const weighted = new WeakMap<readonly Task[], boolean>();

/** Whether a list has weight tasks; estimates ask it thousands of times. */
function hasWeights(tasks: readonly Task[]): boolean {
  const known = weighted.get(tasks) ?? tasks.some(({ kind }) => kind === 'W');
  weighted.set(tasks, known);
  return known;
}

function prefixSums(values: readonly number[]): Float64Array {
  const sums = new Float64Array(values.length + 1);
  values.forEach((value, index) => {
    sums[index + 1] = (sums[index] ?? 0) + value;
  });
  return sums;
}

/** The largest value of a run, from a table of all runs. */
function runMaximum(values: readonly number[]): (from: number, to: number) => number {
  const table = values.map((_, from) => {
    let largest = 0;
    return Float64Array.from(values.slice(from), (value) => {
      largest = Math.max(largest, value);
      return largest;
    });
  });
  return (from, to) => table[from]?.[to - from - 1] ?? 0;
}

interface DropClass {
  /** Seconds per byte. */
  readonly ratio: number;
  /** Bytes over shards, as prefix sums. */
  readonly sums: Float64Array;
}

/** All drop steps of all shards by their price; dropping all of a shard also drops what it received. */
function dropClasses(shards: readonly ShardProfile[]): DropClass[] {
  const byRatio = new Map<number, number[]>();
  shards.forEach(({ drops, receivedNeededBytes }, index) => {
    drops.forEach(({ bytes, seconds }, step) => {
      const isLast = step === drops.length - 1;
      const dropped = bytes + (isLast && index > 0 ? receivedNeededBytes : 0);
      const ratio = seconds / dropped;
      const perShard = byRatio.get(ratio) ?? shards.map(() => 0);
      perShard[index] = (perShard[index] ?? 0) + dropped;
      byRatio.set(ratio, perShard);
    });
  });
  return [...byRatio].sort(([a], [b]) => a - b).map(([ratio, perShard]) => ({ ratio, sums: prefixSums(perShard) }));
}
