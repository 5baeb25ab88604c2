/** The most bytes a stage holds while it runs its list. */
import type { Schedule, Task } from './schedule.js';
import { virtualStageOf } from './virtualStages.js';

/** Bytes of one virtual stage. */
export interface VirtualStageMemory {
  /** Parameters, gradients, optimizer state, scratch. */
  readonly fixedBytes: number;
  /** Per micro-batch from F to B (to W, where there is one). */
  readonly keptBytes: number;
  /** Per micro-batch from recomputation to B (to W, where there is one). */
  readonly recomputedBytes: number;
}

/** Per stage. By the order of tasks alone, whatever their timing; zeros without `memory`. */
export function peakBytes(schedule: Schedule, memory: readonly VirtualStageMemory[] | undefined): number[] {
  return schedule.stages.map((tasks, stage) => (memory === undefined ? 0 : stagePeak(schedule, stage, tasks, memory)));
}

function stagePeak(
  schedule: Schedule,
  stage: number,
  tasks: readonly Task[],
  memory: readonly VirtualStageMemory[],
): number {
  const of = (chunk = 0) => memory[virtualStageOf(schedule, stage, chunk)];
  const lastUse = new Map<string, number>();
  tasks.forEach(({ kind, micro, chunk = 0 }, at) => {
    if (kind !== 'F') lastUse.set(`${micro}.${chunk}`, at);
  });
  let held = 0;
  for (let chunk = 0; chunk < (schedule.numChunks ?? 1); chunk++) held += of(chunk)?.fixedBytes ?? 0;
  let peak = held;
  const recomputed = new Set<string>();
  tasks.forEach(({ kind, micro, chunk = 0 }, at) => {
    const one = `${micro}.${chunk}`;
    const bytes = of(chunk);
    if (kind === 'F') held += bytes?.keptBytes ?? 0;
    if ((kind === 'R' || kind === 'B') && !recomputed.has(one)) {
      held += bytes?.recomputedBytes ?? 0;
      recomputed.add(one);
    }
    peak = Math.max(peak, held);
    if (lastUse.get(one) === at) held -= (bytes?.keptBytes ?? 0) + (bytes?.recomputedBytes ?? 0);
  });
  return peak;
}
