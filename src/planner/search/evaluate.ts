/** One choice priced without lowering it: its stages by blocks, its step by the simulator. */
import { checkSchedule, type InFlight } from '../../pipeline/check.js';
import type { Link } from '../../pipeline/network.js';
import { scheduleByName } from '../../pipeline/registry.js';
import type { Schedule } from '../../pipeline/schedule.js';
import { type Collective, type Simulation, simulate } from '../../pipeline/simulate.js';
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
  readonly stages: readonly StageEstimate[];
}

/** A choice with its stages, not yet simulated. */
export interface Staged {
  readonly choice: LayoutChoice;
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
  const starts = stageStarts(stageOfShard, mesh.pp);
  const stages = Array.from({ length: mesh.pp }, (_, index) =>
    table.estimate(index, starts[index] ?? 0, starts[index + 1] ?? table.numShards, conditions),
  );
  const sharing = workersPerCore(costs, mesh);
  const work = (one: StageEstimate) =>
    one.forwardSeconds + one.recomputeSeconds + one.inputGradientSeconds + one.weightGradientSeconds;
  // Before a stage's first task the stages before it run forward once, after its last they run backward once.
  let around = 0;
  let least = 0;
  for (const one of stages) {
    least = Math.max(least, around + numMicroBatches * work(one));
    around += one.forwardSeconds + one.inputGradientSeconds;
  }
  const shared = (numMicroBatches * stages.reduce((sum, one) => sum + work(one), 0) * sharing) / mesh.pp;
  return {
    choice,
    costs,
    stageOfShard,
    stages,
    fits: stages.every(({ fits }) => fits),
    peakBytes: Math.max(...stages.map(({ bytes }) => bytes)),
    leastSeconds: Math.max(least, sharing > 1 ? shared : 0),
  };
}

/** In-flight counts are those of a run four times as long as the pipeline: then they have long settled. */
function scheduleOf(choice: LayoutChoice, cache: ScheduleCache) {
  const { schedule: name, mesh, numMicroBatches, recompute } = choice;
  const settled = Math.min(numMicroBatches, SETTLED * mesh.pp);
  const key = `${name} ${mesh.pp} ${settled} ${recompute === 'none'}`;
  const known = cache.get(key);
  if (known !== undefined) return known;
  const schedule = scheduleFor(choice, settled);
  const made = { schedule, inFlight: checkSchedule(schedule) };
  cache.set(key, made);
  return made;
}

const SETTLED = 4;

function scheduleFor({ schedule, mesh, recompute }: LayoutChoice, numMicroBatches: number): Schedule {
  return scheduleByName(schedule, mesh.pp, numMicroBatches, { recomputes: recompute !== 'none' });
}

/** Bytes moved per gradient byte by zeroing it and by the optimizer's reads and writes. */
const UPDATE_TRAFFIC = { sgd: 4, momentum: 6, rmsprop: 8, adam: 8 } as const;

/** Simulates a step. */
export function time(staged: Staged, optimizer: OptimizerPlan): Timed {
  const { choice, costs, stages } = staged;
  const { mesh, numMicroBatches } = choice;
  const links: Link[] = [];
  const addLink = (link: Link) => links.push(link) - 1;
  const boundaries = stages.slice(0, -1).map((one, index) => {
    const [down, up] = [addLink(costs.pipelineLink), addLink(costs.pipelineLink)];
    return {
      activation: { bytes: one.sentBytes, route: [down] },
      gradient: { bytes: stages[index + 1]?.sentGradientBytes ?? 0, route: [up] },
    };
  });
  const collectives = stages.flatMap(({ trainableBytes }, index): Collective[] =>
    mesh.dp === 1
      ? []
      : [
          {
            name: `gradients ${index}`,
            stages: [index],
            transfer: ringTransfer(trainableBytes, mesh.dp, links, [addLink(costs.dataLink)]),
          },
        ],
  );
  const updateSeconds = stages.map(({ trainableBytes }) => {
    const bytes = Math.max(
      1,
      (trainableBytes * UPDATE_TRAFFIC[optimizer.kind]) / (choice.shardOptimizer ? mesh.dp : 1),
    );
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
