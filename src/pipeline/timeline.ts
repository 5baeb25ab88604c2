/** When each task of a schedule runs, given what each costs: the simulator with one cost for all stages and free links. */
import type { Schedule } from './schedule.js';
import { simulate, type TimedTask } from './simulate.js';
import { numVirtualStages } from './virtualStages.js';

export type { TimedTask } from './simulate.js';

/** Costs in any one unit. `recomputes[v]`: virtual stage v recomputes before B unless an early R already has. */
export interface TaskCosts {
  readonly forward: number;
  readonly recompute: number;
  /** All of it where the schedule has no W and no `weight` is given. */
  readonly backward: number;
  /** Of W; of B too where the schedule has no W. Default 0. */
  readonly weight?: number;
  /** Between neighbours, per message; sends are asynchronous. */
  readonly hop?: number;
  readonly recomputes: readonly boolean[];
}

/**
 * Each stage runs its list in order; F(k) waits for F(k) of the virtual stage before, B(k) for B(k) of the one after; the
 * recomputation of an 'RB' also waits for the gradient, that of an early R does not.
 *
 * @throws MerakError 'plan/deadlock' when the tasks wait for each other.
 */
export function timeline(schedule: Schedule, costs: TaskCosts): readonly (readonly TimedTask[])[] {
  const hop = { bytes: 0, route: [], latencySeconds: costs.hop ?? 0 };
  const virtualStages = Array.from({ length: numVirtualStages(schedule) }, (_, virtual) => virtual);
  return simulate({
    schedule,
    seconds: virtualStages.map((virtual) => ({
      forward: costs.forward,
      recompute: costs.recomputes[virtual] ? costs.recompute : 0,
      inputGradient: costs.backward,
      weightGradient: costs.weight ?? 0,
    })),
    boundaries: virtualStages.map(() => ({ activation: hop, gradient: hop })),
    sendSlots: Number.POSITIVE_INFINITY,
  }).tasks;
}

/** The time at which the last stage to finish is done. */
export function makespan(rows: readonly (readonly TimedTask[])[]): number {
  return Math.max(0, ...rows.map((row) => row.at(-1)?.end ?? 0));
}
