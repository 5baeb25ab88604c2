/** How each stage decides what to keep, from the plan's recomputation mode. */
import { recomputingStages } from '../pipeline/recomputingStages.js';
import type { Schedule } from '../pipeline/schedule.js';
import { numVirtualStages } from '../pipeline/virtualStages.js';
import type { Executable, RankPlan } from '../plan/plan.js';
import { chooseSaved, type RecomputeMode } from '../recompute/saved.js';
import { callSeconds } from './costs/callSeconds.js';
import type { ProgramCosts } from './costs/programSeconds.js';
import { keepWithin } from './keepWithin.js';
import type { KeepRule } from './lowerModes.js';

export interface KeepContext {
  readonly mode: RecomputeMode;
  readonly costs: ProgramCosts;
  readonly schedule: Schedule;
  readonly ranks: readonly Omit<RankPlan, 'executables'>[];
  /** Executables of other modes, per mode and rank: their arenas are allocated beside that of training. */
  readonly others: readonly (readonly Executable[])[];
  /** Per rank; undefined: no limit, and `auto` keeps everything. */
  readonly memoryLimitBytes?: number | undefined;
  /** Bytes of the limit that kernels and communicators take beside the arenas. */
  readonly workspaceBytes?: number | undefined;
}

export function keepRuleFor(context: KeepContext): KeepRule {
  const { mode, schedule, memoryLimitBytes, costs } = context;
  if (mode !== 'auto') {
    const recomputes = recomputingStages(schedule.name, numVirtualStages(schedule));
    return (_, chunks) =>
      chunks.map(({ virtualStage, derivative }) => chooseSaved(derivative, recomputes[virtualStage] ? mode : 'none'));
  }
  if (memoryLimitBytes === undefined) {
    return (_, chunks) => chunks.map(({ derivative }) => chooseSaved(derivative, 'none'));
  }
  return (stage, chunks) =>
    keepWithin({
      chunks,
      budgetBytes: memoryLimitBytes - (context.workspaceBytes ?? 0) - besideTraining(context, stage),
      nodeSeconds: (graph, node) => callSeconds(graph, node, costs),
      tasks: schedule.stages[stage] ?? [],
      numMicroBatches: schedule.numMicroBatches,
      layout: schedule,
      stage,
    });
}

/** Bytes of the stage's fullest rank outside the training executable. */
function besideTraining({ ranks, others }: KeepContext, pp: number): number {
  const bytes = ranks
    .filter(({ coordinates }) => coordinates.pp === pp)
    .map(({ rank, persistentBytes }) =>
      others.reduce((sum, perRank) => sum + (perRank[rank]?.arenaBytes ?? 0), persistentBytes),
    );
  return Math.max(0, ...bytes);
}
