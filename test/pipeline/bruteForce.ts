/** An independent simulation of a pipeline in fixed ticks: slow, obvious, and without events. Whole-number costs only. */
import type { Schedule } from '../../src/pipeline/schedule.js';

export interface TickCosts {
  readonly forward: number;
  readonly recompute: number;
  readonly input: number;
  readonly weight: number;
  /** Ticks per message and hop, whatever else is under way. */
  readonly hop: number;
}

/** The tick at which everything is done. One chunk per stage; unlimited send slots. `stageCosts[s]`. */
export function ticks(schedule: Schedule, stageCosts: readonly TickCosts[]): number {
  const p = schedule.numStages;
  const position = schedule.stages.map(() => 0);
  const left = schedule.stages.map(() => -1);
  const arrives = new Map<string, number>();
  for (let now = 0; now < 100_000; now++) {
    // Tasks that end now send what they made; zero-length tasks may end and start several times in one tick.
    for (let again = true; again; ) {
      again = false;
      for (let stage = 0; stage < p; stage++) {
        const tasks = schedule.stages[stage]!;
        const task = tasks[position[stage]!];
        if (task === undefined) continue;
        const cost = stageCosts[stage]!;
        if (left[stage]! < 0) {
          const from = task.kind === 'F' ? stage - 1 : task.kind === 'B' ? stage + 1 : -1;
          const needs = from >= 0 && from < p;
          if (needs && (arrives.get(`${task.kind}${task.micro} ${from}`) ?? Number.POSITIVE_INFINITY) > now) continue;
          const has = (kind: string) => tasks.some((other) => other.kind === kind && other.micro === task.micro);
          left[stage] =
            task.kind === 'F'
              ? cost.forward
              : task.kind === 'R'
                ? cost.recompute
                : task.kind === 'W'
                  ? cost.weight
                  : cost.input + (has('R') ? 0 : cost.recompute) + (has('W') ? 0 : cost.weight);
        }
        if (left[stage] === 0) {
          arrives.set(`${task.kind}${task.micro} ${stage}`, now + cost.hop);
          position[stage]!++;
          left[stage] = -1;
          again = true;
        }
      }
    }
    if (position.every((at, stage) => at === schedule.stages[stage]!.length)) return now;
    for (let stage = 0; stage < p; stage++) if (left[stage]! > 0) left[stage]!--;
  }
  throw new Error('never ends');
}
