/** The schedules of a search: each made, ordered and counted once. */
import type { InFlight } from '../../pipeline/check.js';
import { scheduleByName } from '../../pipeline/registry.js';
import type { Schedule } from '../../pipeline/schedule.js';
import type { LayoutChoice } from './candidates.js';
import { inFlightOf, type PlayOrder, playOrder } from './playOrder.js';

export interface KnownSchedule {
  readonly schedule: Schedule;
  readonly inFlight: InFlight;
  readonly order: PlayOrder;
}

/** Known schedules, by what tells them apart. */
export type ScheduleCache = Map<string, KnownSchedule>;

/** A run this many times as long as the pipeline has settled: in-flight counts and the time per micro-batch stay as they are. */
export const SETTLED = 4;

/** The choice's schedule at its own number of micro-batches, or as long as it takes to settle. */
export function settledSchedule(choice: LayoutChoice, cache: ScheduleCache): KnownSchedule {
  return knownSchedule(choice, Math.min(choice.numMicroBatches, SETTLED * choice.mesh.pp), cache);
}

export function knownSchedule(choice: LayoutChoice, numMicroBatches: number, cache: ScheduleCache): KnownSchedule {
  const { schedule: name, mesh, numChunks, recompute } = choice;
  const key = `${name} ${mesh.pp} ${numChunks} ${numMicroBatches} ${recompute === 'none'}`;
  const known = cache.get(key);
  if (known !== undefined) return known;
  const schedule = scheduleFor(choice, numMicroBatches);
  const made = { schedule, inFlight: inFlightOf(schedule), order: playOrder(schedule) };
  cache.set(key, made);
  return made;
}

export function scheduleFor(choice: LayoutChoice, numMicroBatches: number): Schedule {
  const { schedule, mesh, numChunks, recompute } = choice;
  return scheduleByName(schedule, mesh.pp, numMicroBatches, { recomputes: recompute !== 'none', numChunks });
}
