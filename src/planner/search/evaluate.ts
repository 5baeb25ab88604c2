/** One choice priced without lowering it: its stages by blocks, its step by playing the schedule. */
import type { Link } from '../../pipeline/network.js';
import type { Schedule } from '../../pipeline/schedule.js';
import { type Collective, type Simulation, type SimulationInput, simulate } from '../../pipeline/simulate.js';
import { type ChunkLayout, numVirtualStages, placeOf, virtualStagesOn } from '../../pipeline/virtualStages.js';
import type { OptimizerPlan } from '../../plan/plan.js';
import { assignFreely, assignWithin, stageStarts } from '../balance.js';
import { ringTransfer } from '../costs/collectives.js';
import type { ClusterCosts } from '../costs/planSimulation.js';
import type { SharedParameter, StageConditions, StageCosts, StageEstimate } from '../stageCosts.js';
import type { LayoutChoice } from './candidates.js';
import { closedAt, closingOf } from './closing.js';
import { workersPerCore } from './cluster.js';
import { type Hop, play } from './playOrder.js';
import { knownSchedule, type ScheduleCache, SETTLED, scheduleFor, settledSchedule } from './schedules.js';

export interface Timed {
  readonly choice: LayoutChoice;
  readonly stepSeconds: number;
  /** Of the step, by the average rank. */
  readonly computeSeconds: number;
  readonly recomputeSeconds: number;
  /** Tensor-parallel exchanges within the computing. */
  readonly exchangeSeconds: number;
  /** Reductions of gradients and the update, after the last task. */
  readonly closingSeconds: number;
  readonly bubble: number;
  readonly peakBytes: number;
  /** By virtual stage. */
  readonly stages: readonly StageEstimate[];
  readonly staged: Staged;
}

/** A choice with its stages, not yet simulated. */
export interface Staged {
  readonly choice: LayoutChoice;
  /** Of as many micro-batches as it takes to settle. */
  readonly schedule: Schedule;
  readonly costs: ClusterCosts;
  /** Per shard, its virtual stage. */
  readonly stageOfShard: readonly number[];
  /** By virtual stage. */
  readonly stages: readonly StageEstimate[];
  /** Parameters that several shards use, and so perhaps several stages. */
  readonly shared: readonly SharedParameter[];
  readonly fits: boolean;
  readonly peakBytes: number;
  /** No simulation of these stages is faster. */
  readonly leastSeconds: number;
}

/**
 * @param mostSeconds of a step: where balanced stages alone take longer, undefined is returned. Default: whatever it takes,
 *   and stages that do not fit rather than none
 */
export function stage(
  choice: LayoutChoice,
  table: StageCosts,
  costs: ClusterCosts,
  memoryLimitBytes: number,
  cache: ScheduleCache,
): Staged;
export function stage(
  choice: LayoutChoice,
  table: StageCosts,
  costs: ClusterCosts,
  memoryLimitBytes: number,
  cache: ScheduleCache,
  mostSeconds: number,
): Staged | undefined;
export function stage(
  choice: LayoutChoice,
  table: StageCosts,
  costs: ClusterCosts,
  memoryLimitBytes: number,
  cache: ScheduleCache,
  mostSeconds = Number.POSITIVE_INFINITY,
): Staged | undefined {
  const { mesh, numMicroBatches, recompute } = choice;
  const { schedule, inFlight } = settledSchedule(choice, cache);
  const optimizerPieces = choice.shardOptimizer ? mesh.dp : 1;
  const communicators = costs.communicatorBytes?.(mesh, choice.numChunks) ?? 0;
  const room = memoryLimitBytes - communicators;
  const conditions = { schedule, inFlight, recompute, memoryLimitBytes: room, optimizerPieces };
  const parts = partition(table, conditions, costs.pipelineLink, mostSeconds / numMicroBatches);
  if (parts === undefined) return undefined;
  const { stageOfShard, stages } = parts;
  const sharing = workersPerCore(costs, mesh);
  const perStage = (of: (one: StageEstimate) => number) => byStage(schedule, stages, of);
  const stageWork = perStage(workSeconds);
  // Before a stage's first task the stages before it run forward once, after its last they run backward once; with several
  // chunks only the first chunks' stages are known to.
  let around = 0;
  let least = 0;
  stageWork.forEach((seconds, index) => {
    least = Math.max(least, around + numMicroBatches * seconds);
    const one = stages[index];
    if (choice.numChunks === 1) around += (one?.forwardSeconds ?? 0) + (one?.inputGradientSeconds ?? 0);
  });
  const stageBytes = perStage(({ bytes }) => bytes);
  const shared = (numMicroBatches * stages.reduce((sum, one) => sum + workSeconds(one), 0) * sharing) / mesh.pp;
  return {
    choice,
    schedule,
    costs,
    stageOfShard,
    stages,
    shared: table.shared,
    fits: choice.numChunks === 1 ? stages.every(({ fits }) => fits) : Math.max(...stageBytes) <= room,
    peakBytes: Math.max(...stageBytes) + communicators,
    leastSeconds: Math.max(least, sharing > 1 ? shared : 0),
  };
}

function workSeconds(one: StageEstimate): number {
  return one.forwardSeconds + one.recomputeSeconds + one.inputGradientSeconds + one.weightGradientSeconds;
}

/** The balance that no memory limits, where it fits as it is; only else the search under the limit. */
function partition(
  table: StageCosts,
  conditions: StageConditions,
  link: Link,
  mostSeconds: number,
): { readonly stageOfShard: readonly number[]; readonly stages: StageEstimate[] } | undefined {
  const numStages = numVirtualStages(conditions.schedule);
  const estimates = (stageOfShard: readonly number[]) => {
    const starts = stageStarts(stageOfShard, numStages);
    return Array.from({ length: numStages }, (_, index) =>
      table.estimate(index, starts[index] ?? 0, starts[index + 1] ?? table.numShards, conditions),
    );
  };
  if (conditions.recompute !== 'full') {
    const stageOfShard = assignFreely(table, numStages, link);
    const stages = estimates(stageOfShard);
    if (stages.every(({ fits, recomputeSeconds }) => fits && recomputeSeconds === 0)) return { stageOfShard, stages };
  }
  const stageOfShard = assignWithin(table, conditions, link, mostSeconds);
  if (stageOfShard.length > 0) return { stageOfShard, stages: estimates(stageOfShard) };
  if (mostSeconds < Number.POSITIVE_INFINITY) return undefined;
  const anyway = assignFreely(table, numStages, link);
  return { stageOfShard: anyway, stages: estimates(anyway) };
}

/** Sums over the chunks of each stage. */
function byStage(layout: ChunkLayout, stages: readonly StageEstimate[], of: (one: StageEstimate) => number): number[] {
  return Array.from({ length: layout.numStages }, (_, stage) =>
    virtualStagesOn(layout, stage).reduce((sum, virtual) => {
      const one = stages[virtual];
      return sum + (one === undefined ? 0 : of(one));
    }, 0),
  );
}

const HANDED_OVER = { activation: { bytes: 0, route: [] }, gradient: { bytes: 0, route: [] } };

/** The step of a staged choice for the simulator, with its own number of micro-batches unless another is given. */
export function stepInput(
  staged: Staged,
  optimizer: OptimizerPlan,
  numMicroBatches = staged.choice.numMicroBatches,
): SimulationInput {
  const { choice, costs, schedule, stages } = staged;
  const { mesh } = choice;
  const links: Link[] = [];
  const addLink = (link: Link) => links.push(link) - 1;
  const boundaries = stages.slice(0, -1).map((one, index) => {
    if (placeOf(schedule, index).stage === placeOf(schedule, index + 1).stage) return HANDED_OVER;
    const [down, up] = [addLink(costs.pipelineLink), addLink(costs.pipelineLink)];
    return {
      activation: { bytes: one.sentBytes, route: [down] },
      gradient: { bytes: stages[index + 1]?.sentGradientBytes ?? 0, route: [up] },
    };
  });
  const closing = closingOf(staged, optimizer);
  const collectives = closing.reductions.map(({ name, stages: members, bytes, numRanks, link }): Collective => {
    return { name, stages: members, transfer: ringTransfer(bytes, numRanks, links, [addLink(link)]) };
  });
  return {
    schedule: scheduleFor(choice, numMicroBatches),
    seconds: virtualSeconds(stages),
    boundaries,
    links,
    transfers: costs.transfers ?? 'background',
    ...(costs.numProcessors === undefined
      ? {}
      : { processors: { count: costs.numProcessors, copies: mesh.dp * mesh.tp } }),
    collectives,
    updateSeconds: closing.updateSeconds,
  };
}

function virtualSeconds(stages: readonly StageEstimate[]) {
  return stages.map((one) => ({
    forward: one.forwardSeconds,
    recompute: one.recomputeSeconds,
    inputGradient: one.inputGradientSeconds,
    weightGradient: one.weightGradientSeconds,
  }));
}

type StepTime = Pick<Simulation, 'stepSeconds' | 'pipelineSeconds'>;

/** Plays a step. */
export function time(staged: Staged, optimizer: OptimizerPlan, cache: ScheduleCache): Timed {
  const { choice, costs, stages } = staged;
  const { mesh, numMicroBatches } = choice;
  // Where ranks share processors, or copy with their own, only the simulator knows; elsewhere links are free of each other.
  const shares = costs.transfers === 'receiver' || costs.numProcessors !== undefined;
  const step = shares
    ? (micros: number) => simulate(stepInput(staged, optimizer, micros))
    : (micros: number) => playStep(staged, optimizer, cache, micros);
  const { stepSeconds, pipelineSeconds } = settledTime(numMicroBatches, mesh.pp, step);
  const mean = (of: (one: StageEstimate) => number) =>
    (numMicroBatches * stages.reduce((sum, one) => sum + of(one), 0)) / mesh.pp;
  const exchangeSeconds = mean((one) => one.exchangeSeconds);
  const recomputeSeconds = mean((one) => one.recomputeSeconds);
  const base = mean((one) => one.forwardSeconds + one.inputGradientSeconds + one.weightGradientSeconds);
  return {
    choice,
    stepSeconds,
    computeSeconds: base - exchangeSeconds,
    recomputeSeconds,
    exchangeSeconds,
    closingSeconds: stepSeconds - pipelineSeconds,
    bubble: Math.max(0, 1 - (base + recomputeSeconds) / pipelineSeconds),
    peakBytes: staged.peakBytes,
    stages,
    staged,
  };
}

function playStep(staged: Staged, optimizer: OptimizerPlan, cache: ScheduleCache, micros: number): StepTime {
  const { choice, costs, stages } = staged;
  const { order } = knownSchedule(choice, micros, cache);
  const { latencySeconds, bytesPerSecond } = costs.pipelineLink;
  const hop = (bytes: number): Hop => ({ occupiedSeconds: bytes / bytesPerSecond, latencySeconds });
  const hops = stages.flatMap((one, index) => [hop(one.sentBytes), hop(stages[index + 1]?.sentGradientBytes ?? 0)]);
  const ends = play(order, virtualSeconds(stages), hops);
  const pipelineSeconds = Math.max(...ends);
  return { pipelineSeconds, stepSeconds: Math.max(...closedAt(closingOf(staged, optimizer), ends)) };
}

/**
 * Once the pipeline is full every further micro-batch takes as long as the one before, so of long runs two shorter ones
 * are played and the rest is their difference.
 */
function settledTime(numMicroBatches: number, numStages: number, step: (micros: number) => StepTime): StepTime {
  const [short, long] = [(SETTLED - 1) * numStages, SETTLED * numStages];
  if (numMicroBatches <= short + long) return step(numMicroBatches);
  const [a, b] = [step(short), step(long)];
  const rest = ((numMicroBatches - long) * (b.pipelineSeconds - a.pipelineSeconds)) / numStages;
  return { stepSeconds: b.stepSeconds + rest, pipelineSeconds: b.pipelineSeconds + rest };
}
