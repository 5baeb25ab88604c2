/** The schedule of evaluation and prediction: every micro-batch forward. */
import { requireChunks, requireCounts } from './counts.js';
import type { Schedule, Task } from './schedule.js';
import type { ChunkLayout } from './virtualStages.js';

/**
 * In order; where stages hold several chunks, in groups of p micro-batches, each group through one chunk after the other,
 * so that a stage has work while a micro-batch is under way between two of its chunks. In a V of two chunks, stage s runs p - s
 * forwards of the first chunk, after which micro-batches come back, and then both in turn.
 *
 * @throws MerakError 'plan/invalid' when a count is not a positive integer.
 */
export function forwardOnly(layout: ChunkLayout, numMicroBatches: number): Schedule {
  const { numStages, numChunks = 1, placement } = layout;
  requireCounts(numStages, numMicroBatches);
  requireChunks(numChunks);
  const grouped = inGroups(numMicroBatches, numChunks, numChunks === 1 ? numMicroBatches : numStages);
  const inV = placement === 'vee' && numChunks === 2;
  const stages = Array.from({ length: numStages }, (_, stage) =>
    inV ? inTurn(numMicroBatches, numStages - stage) : grouped,
  );
  return { name: 'forward', ...layout, numMicroBatches, stages };
}

function inGroups(numMicroBatches: number, numChunks: number, groupSize: number): Task[] {
  const tasks: Task[] = [];
  for (let first = 0; first < numMicroBatches; first += groupSize) {
    for (let chunk = 0; chunk < numChunks; chunk++) {
      for (let micro = first; micro < Math.min(first + groupSize, numMicroBatches); micro++) {
        tasks.push(numChunks === 1 ? { kind: 'F', micro } : { kind: 'F', micro, chunk });
      }
    }
  }
  return tasks;
}

function inTurn(numMicroBatches: number, ahead: number): Task[] {
  const tasks: Task[] = [];
  for (let turn = 0; turn < numMicroBatches + ahead; turn++) {
    if (turn >= ahead) tasks.push({ kind: 'F', micro: turn - ahead, chunk: 1 });
    if (turn < numMicroBatches) tasks.push({ kind: 'F', micro: turn, chunk: 0 });
  }
  return tasks;
}
