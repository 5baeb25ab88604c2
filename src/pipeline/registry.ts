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
  /** Chunks per stage. Default 2 where a schedule has several, else 1; only 'interleaved' has any number. */
  readonly numChunks?: number | undefined;
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

/** Chunks per stage of the schedules that have several when nothing else is asked for. */
const CHUNKS: ReadonlyMap<string, { readonly default: number; readonly fixed: boolean }> = new Map([
  ['interleaved', { default: 2, fixed: false }],
  ['zb-v', { default: 2, fixed: true }],
]);

export function canHaveChunks(name: string, numChunks: number): boolean {
  const { default: usual, fixed } = CHUNKS.get(name) ?? ONE_CHUNK;
  return numChunks === usual || !fixed;
}

/**
 * Chunks per stage of a schedule.
 *
 * @throws MerakError 'config/invalid' when the schedule cannot have as many as asked for.
 */
export function numChunksOf(name: string, asked?: number): number {
  const { default: usual } = CHUNKS.get(name) ?? ONE_CHUNK;
  if (asked === undefined || canHaveChunks(name, asked)) return asked ?? usual;
  throw new MerakError('config/invalid', `schedule '${name}' puts ${usual} of the model's chunks on a stage`, {
    path: 'chunks',
    expected: String(usual),
    received: String(asked),
    hint: "leave 'chunks' out, or use schedule 'interleaved', which takes any number",
  });
}

const ONE_CHUNK = { default: 1, fixed: true };

/**
 * @throws MerakError 'config/invalid' for a name nobody registered or chunks it cannot have, 'plan/invalid' for counts below
 *   one.
 */
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
  const numChunks = numChunksOf(name, options.numChunks);
  return generate(numStages, numMicroBatches, { ...options, numChunks });
}
