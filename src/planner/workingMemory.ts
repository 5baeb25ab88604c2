/** The exact working memory of a stage's training executable, without building the executable. */
import type { Task } from '../pipeline/schedule.js';
import { listInstructions } from '../plan/instructions.js';
import type { LoweredStage } from '../plan/lower.js';
import { layOutSpaces } from '../plan/memory.js';
import { WORKING_SPACES } from '../plan/plan.js';

export interface WorkingMemory {
  readonly arenaBytes: number;
  /** Slots of the `saved` and `recomputed` spaces: micro-batches held at once in each state. */
  readonly numSaved: number;
  readonly numRecomputed: number;
}

export interface StagePosition {
  readonly tasks: readonly Task[];
  readonly numMicroBatches: number;
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

export function workingMemory(lowered: LoweredStage, position: StagePosition): WorkingMemory {
  // Which ranks the neighbours are does not matter, only whether there are any.
  const { numSlots } = listInstructions({
    tasks: position.tasks,
    lowered,
    numMicroBatches: position.numMicroBatches,
    before: position.isFirst ? null : 0,
    after: position.isLast ? null : 0,
    closing: 'train',
    reducesState: false,
  });
  const slotsOf: Readonly<Record<string, number>> = numSlots;
  const sizes = WORKING_SPACES.map((space) => ({
    space,
    bytesPerSlot: lowered.bytes[space] ?? 0,
    numSlots: slotsOf[space] ?? 1,
  }));
  return {
    arenaBytes: layOutSpaces(sizes).totalBytes,
    numSaved: numSlots.saved,
    numRecomputed: numSlots.recomputed,
  };
}
