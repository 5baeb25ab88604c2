/** Schedules by name, as the user names them. */
import { closest } from 'fastest-levenshtein';
import { MerakError } from '../errors.js';
import { oneForwardOneBackward } from './oneForwardOneBackward.js';
import type { Schedule } from './schedule.js';
import { shiftedCriticalPath } from './shiftedCriticalPath.js';

export type ScheduleGenerator = (numStages: number, numMicroBatches: number) => Schedule;

const GENERATORS: ReadonlyMap<string, ScheduleGenerator> = new Map([
  ['1f1b', oneForwardOneBackward],
  ['scp', shiftedCriticalPath],
]);

export const SCHEDULE_NAMES: readonly string[] = [...GENERATORS.keys()];

/** @throws MerakError 'config/invalid' for a name nobody registered. */
export function scheduleByName(name: string, numStages: number, numMicroBatches: number): Schedule {
  const generate = GENERATORS.get(name);
  if (generate === undefined) {
    throw new MerakError('config/invalid', `no schedule is called '${name}'`, {
      path: 'schedule',
      expected: SCHEDULE_NAMES.join(' or '),
      received: name,
      hint: `did you mean '${closest(name, [...SCHEDULE_NAMES])}'?`,
    });
  }
  return generate(numStages, numMicroBatches);
}
