/** When each task of a schedule runs, given what each costs. */
import { MerakError } from '../errors.js';
import type { Schedule, Task } from './schedule.js';

/** Costs in any one unit. `recomputes[s]`: stage s recomputes before B unless an early R already has. */
export interface TaskCosts {
  readonly forward: number;
  readonly recompute: number;
  readonly backward: number;
  readonly weight?: number;
  /** Between neighbours, per message; sends are asynchronous. */
  readonly hop?: number;
  readonly recomputes: readonly boolean[];
}

/** `label` is 'F3', 'R3', 'B3', 'W3', or 'RB3' for a backward that recomputes first. */
export interface TimedTask extends Task {
  readonly label: string;
  readonly start: number;
  readonly end: number;
}

/**
 * Each stage runs its list in order; F(k) waits for F(k) of the stage before, B(k) for B(k) of the stage after; the
 * recomputation of an 'RB' also waits for the gradient, that of an early R does not.
 *
 * @throws MerakError 'plan/deadlock' when the tasks wait for each other.
 */
export function timeline(schedule: Schedule, costs: TaskCosts): TimedTask[][] {
  const hop = costs.hop ?? 0;
  const rows: TimedTask[][] = schedule.stages.map(() => []);
  const ends = schedule.stages.map(() => new Map<string, number>());
  let moved = true;
  while (moved) {
    moved = false;
    schedule.stages.forEach((tasks, stage) => {
      const row = rows[stage] ?? [];
      for (let task = tasks[row.length]; task !== undefined; task = tasks[row.length]) {
        const { kind, micro } = task;
        const source = kind === 'F' ? stage - 1 : kind === 'B' ? stage + 1 : -1;
        const needs = source >= 0 && source < schedule.numStages;
        const arrival = needs ? ends[source]?.get(`${kind}${micro}`) : -hop;
        if (arrival === undefined) break;
        const early = ends[stage]?.has(`R${micro}`) ?? false;
        const recomputes = costs.recomputes[stage] ?? false;
        const both = kind === 'B' && recomputes && !early;
        const start = Math.max(row.at(-1)?.end ?? 0, arrival + hop);
        const end = start + cost(kind, recomputes, costs) + (both ? costs.recompute : 0);
        row.push({ kind, micro, label: `${both ? 'RB' : kind}${micro}`, start, end });
        ends[stage]?.set(`${kind}${micro}`, end);
        moved = true;
      }
    });
  }
  if (rows.some((row, stage) => row.length < (schedule.stages[stage]?.length ?? 0))) {
    throw new MerakError('plan/deadlock', `schedule '${schedule.name}' cannot finish`);
  }
  return rows;
}

function cost(kind: Task['kind'], recomputes: boolean, costs: TaskCosts): number {
  if (kind === 'F') return costs.forward;
  if (kind === 'R') return recomputes ? costs.recompute : 0;
  return kind === 'B' ? costs.backward : (costs.weight ?? 0);
}

/** The time at which the last stage to finish is done. */
export function makespan(rows: readonly (readonly TimedTask[])[]): number {
  return Math.max(0, ...rows.map((row) => row.at(-1)?.end ?? 0));
}
