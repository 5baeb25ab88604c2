/** Schedules by name, as the user names them. */
import { closest } from 'fastest-levenshtein';
import { MerakError } from '../errors.js';
import { earlyRecompute } from './earlyRecompute.js';
import { gpipe } from './gpipe.js';
import { interleaved } from './interleaved.js';
import { oneForwardOneBackward } from './oneForwardOneBackward.js';
import type { Schedule } from './schedule.js';
import { shiftedCriticalPath } from './shiftedCriticalPath.js';
import { zeroBubbleH1 } from './zeroBubbleH1.js';
import { zeroBubbleV } from './zeroBubbleV.js';

export interface ScheduleOptions {
  /** Whether stages will recompute: schedules that split B from W then keep few recomputed micro-batches. Default false. */
  readonly recomputes?: boolean;
  /** Chunks per stage, for 'interleaved'. Default 2. */
  readonly numChunks?: number;
}

export type ScheduleGenerator = (numStages: number, numMicroBatches: number, options: ScheduleOptions) => Schedule;

const GENERATORS: ReadonlyMap<string, ScheduleGenerator> = new Map<string, ScheduleGenerator>([
  ['1f1b', oneForwardOneBackward],
  ['scp', shiftedCriticalPath],
  ['gpipe', gpipe],
  ['1f1b-early', earlyRecompute],
  ['interleaved', (numStages, numMicroBatches, { numChunks }) => interleaved(numStages, numMicroBatches, numChunks)],
  ['zb-h1', (numStages, numMicroBatches, { recomputes }) => zeroBubbleH1(numStages, numMicroBatches, recomputes)],
  ['zb-v', (numStages, numMicroBatches, { recomputes }) => zeroBubbleV(numStages, numMicroBatches, recomputes)],
]);

export const SCHEDULE_NAMES: readonly string[] = [...GENERATORS.keys()];

/** @throws MerakError 'config/invalid' for a name nobody registered, 'plan/invalid' for counts below one. */
export function scheduleByName(
  name: string,
  numStages: number,
  numMicroBatches: number,
  options: ScheduleOptions = {},
): Schedule {
  const generate = GENERATORS.get(name);
  if (generate === undefined) {
    throw new MerakError('config/invalid', `no schedule is called '${name}'`, {
      path: 'schedule',
      expected: SCHEDULE_NAMES.join(' or '),
      received: name,
      hint: `did you mean '${closest(name, [...SCHEDULE_NAMES])}'?`,
    });
  }
  return generate(numStages, numMicroBatches, options);
}
