/** Interleaved 1F1B (Narayanan et al., SC 2021): each stage holds several chunks of the model. */
import { requireChunks, requireCounts } from './counts.js';
import type { Schedule, Task } from './schedule.js';

/**
 * Micro-batches go through in groups of p: chunk 0 of the whole group, then chunk 1, ...; gradients likewise from the
 * last chunk. Stage s runs 2 (p - 1 - s) + (v - 1) p forwards ahead, then alternates. The bubble shrinks to
 * (p - 1)(F + B) / v, with F and B those of all v chunks, for v times the messages. An m that p does not divide is
 * planned as the next multiple and the micro-batches beyond m left out, which removes whole chains and so keeps the
 * order sound.
 *
 * @throws MerakError 'plan/invalid' when a count is not a positive integer.
 */
export function interleaved(numStages: number, numMicroBatches: number, numChunks = 2): Schedule {
  requireCounts(numStages, numMicroBatches);
  requireChunks(numChunks);
  const groups = Math.ceil(numMicroBatches / numStages);
  const forwards = inGroups('F', groups, numStages, numChunks);
  const backwards = inGroups('B', groups, numStages, numChunks);
  const stages = Array.from({ length: numStages }, (_, stage) => {
    const ahead = 2 * (numStages - 1 - stage) + (numChunks - 1) * numStages;
    const warmUp = Math.min(numChunks === 1 ? numStages - 1 - stage : ahead, forwards.length);
    const tasks = forwards.slice(0, warmUp);
    backwards.forEach((backward, index) => {
      const forward = forwards[index + warmUp];
      if (forward !== undefined) tasks.push(forward);
      tasks.push(backward);
    });
    return tasks.filter(({ micro }) => micro < numMicroBatches);
  });
  return { name: 'interleaved', numStages, numMicroBatches, numChunks, placement: 'loop', stages };
}

function inGroups(kind: 'F' | 'B', numGroups: number, groupSize: number, numChunks: number): Task[] {
  const tasks: Task[] = [];
  for (let group = 0; group < numGroups; group++) {
    for (let turn = 0; turn < numChunks; turn++) {
      const chunk = kind === 'F' ? turn : numChunks - 1 - turn;
      for (let i = 0; i < groupSize; i++) tasks.push({ kind, micro: group * groupSize + i, chunk });
    }
  }
  return tasks;
}
