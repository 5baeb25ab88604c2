/** One choice priced without lowering it: its stages by blocks, its step by the simulator. */
import { checkSchedule, type InFlight, inFlightByVirtualStage } from '../../pipeline/check.js';
import type { Link } from '../../pipeline/network.js';
import { scheduleByName } from '../../pipeline/registry.js';
import type { Schedule } from '../../pipeline/schedule.js';
import { type Collective, type Simulation, simulate } from '../../pipeline/simulate.js';
import { type ChunkLayout, numVirtualStages, placeOf, virtualStagesOn } from '../../pipeline/virtualStages.js';
import type { OptimizerPlan } from '../../plan/plan.js';
import { assignStagesTo, stageStarts } from '../balance.js';
import { ringTransfer } from '../costs/collectives.js';
import type { ClusterCosts } from '../costs/planSimulation.js';
import { rateAt } from '../costs/rates.js';
import type { StageCosts, StageEstimate } from '../stageCosts.js';
import type { LayoutChoice } from './candidates.js';
import { workersPerCore } from './cluster.js';

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
  readonly stageOfShard: readonly number[];
  /** By virtual stage. */
  readonly stages: readonly StageEstimate[];
}

/** A choice with its stages, not yet simulated. */
export interface Staged {
  readonly choice: LayoutChoice;
  readonly schedule: Schedule;
  readonly costs: ClusterCosts;
  readonly stageOfShard: readonly number[];
  readonly stages: readonly StageEstimate[];
  readonly fits: boolean;
  readonly peakBytes: number;
  /** No simulation of these stages is faster. */
  readonly leastSeconds: number;
}

export type ScheduleCache = Map<string, { readonly schedule: Schedule; readonly inFlight: InFlight }>;

export function stage(
  choice: LayoutChoice,
  table: StageCosts,
  costs: ClusterCosts,
  memoryLimitBytes: number,
  cache: ScheduleCache,
): Staged {
  const { mesh, numMicroBatches, recompute } = choice;
  const { schedule, inFlight } = scheduleOf(choice, cache);
  const optimizerPieces = choice.shardOptimizer ? mesh.dp : 1;
  const conditions = { schedule, inFlight, recompute, memoryLimitBytes, optimizerPieces };
  const stageOfShard = assignStagesTo(table, conditions, costs.pipelineLink);
  const numStages = numVirtualStages(schedule);
  const starts = stageStarts(stageOfShard, numStages);
  const stages = Array.from({ length: numStages }, (_, index) =>
    table.estimate(index, starts[index] ?? 0, starts[index + 1] ?? table.numShards, conditions),
  );
  const sharing = workersPerCore(costs, mesh);
  const work = (one: StageEstimate) =>
    one.forwardSeconds + one.recomputeSeconds + one.inputGradientSeconds + one.weightGradientSeconds;
  const perStage = (of: (one: StageEstimate) => number) => byStage(schedule, stages, of);
  const stageWork = perStage(work);
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
  const shared = (numMicroBatches * stages.reduce((sum, one) => sum + work(one), 0) * sharing) / mesh.pp;
  return {
    choice,
    schedule,
    costs,
    stageOfShard,
    stages,
    fits: choice.numChunks === 1 ? stages.every(({ fits }) => fits) : Math.max(...stageBytes) <= memoryLimitBytes,
    peakBytes: Math.max(...stageBytes),
    leastSeconds: Math.max(least, sharing > 1 ? shared : 0),
  };
}

/** In-flight counts are those of a run four times as long as the pipeline: then they have long settled. */
function scheduleOf(choice: LayoutChoice, cache: ScheduleCache) {
  const { schedule: name, mesh, numMicroBatches, recompute } = choice;
  const settled = Math.min(numMicroBatches, SETTLED * mesh.pp);
  const key = `${name} ${mesh.pp} ${choice.numChunks} ${settled} ${recompute === 'none'}`;
  const known = cache.get(key);
  if (known !== undefined) return known;
  const schedule = scheduleFor(choice, settled);
  checkSchedule(schedule);
  const made = { schedule, inFlight: inFlightByVirtualStage(schedule) };
  cache.set(key, made);
  return made;
}

const SETTLED = 4;

function scheduleFor({ schedule, mesh, numChunks, recompute }: LayoutChoice, numMicroBatches: number): Schedule {
  return scheduleByName(schedule, mesh.pp, numMicroBatches, { recomputes: recompute !== 'none', numChunks });
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

/** Bytes moved per gradient byte by zeroing it and by the optimizer's reads and writes. */
const UPDATE_TRAFFIC = { sgd: 4, momentum: 6, rmsprop: 8, adam: 8 } as const;

/** Simulates a step. */
export function time(staged: Staged, optimizer: OptimizerPlan): Timed {
  const { choice, costs, schedule, stages } = staged;
  const { mesh, numMicroBatches } = choice;
  const links: Link[] = [];
  const addLink = (link: Link) => links.push(link) - 1;
  const trainableBytes = byStage(schedule, stages, (one) => one.trainableBytes);
  const boundaries = stages.slice(0, -1).map((one, index) => {
    if (placeOf(schedule, index).stage === placeOf(schedule, index + 1).stage) return HANDED_OVER;
    const [down, up] = [addLink(costs.pipelineLink), addLink(costs.pipelineLink)];
    return {
      activation: { bytes: one.sentBytes, route: [down] },
      gradient: { bytes: stages[index + 1]?.sentGradientBytes ?? 0, route: [up] },
    };
  });
  const collectives = trainableBytes.flatMap((bytes, index): Collective[] =>
    mesh.dp === 1
      ? []
      : [
          {
            name: `gradients ${index}`,
            stages: [index],
            transfer: ringTransfer(bytes, mesh.dp, links, [addLink(costs.dataLink)]),
          },
        ],
  );
  const updateSeconds = trainableBytes.map((owned) => {
    const bytes = Math.max(1, (owned * UPDATE_TRAFFIC[optimizer.kind]) / (choice.shardOptimizer ? mesh.dp : 1));
    return (workersPerCore(costs, mesh) * bytes) / rateAt(costs.device.memoryBytesPerSecond, bytes);
  });
  const play = (micros: number) =>
    simulate({
      schedule: scheduleFor(choice, micros),
      seconds: stages.map((one) => ({
        forward: one.forwardSeconds,
        recompute: one.recomputeSeconds,
        inputGradient: one.inputGradientSeconds,
        weightGradient: one.weightGradientSeconds,
      })),
      boundaries,
      links,
      transfers: costs.transfers ?? 'background',
      ...(costs.numProcessors === undefined
        ? {}
        : { processors: { count: costs.numProcessors, copies: mesh.dp * mesh.tp } }),
      collectives,
      updateSeconds,
    });
  const { stepSeconds, pipelineSeconds } = settledTime(numMicroBatches, mesh.pp, play);
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
    stageOfShard: staged.stageOfShard,
    stages,
  };
}

/**
 * Once the pipeline is full every further micro-batch takes as long as the one before, so of long runs two shorter ones
 * are played and the rest is their difference.
 */
function settledTime(
  numMicroBatches: number,
  numStages: number,
  play: (micros: number) => Pick<Simulation, 'stepSeconds' | 'pipelineSeconds'>,
): Pick<Simulation, 'stepSeconds' | 'pipelineSeconds'> {
  const [short, long] = [(SETTLED - 1) * numStages, SETTLED * numStages];
  if (numMicroBatches <= short + long) return play(numMicroBatches);
  const [a, b] = [play(short), play(long)];
  const rest = ((numMicroBatches - long) * (b.pipelineSeconds - a.pipelineSeconds)) / numStages;
  return { stepSeconds: b.stepSeconds + rest, pipelineSeconds: b.pipelineSeconds + rest };
}
