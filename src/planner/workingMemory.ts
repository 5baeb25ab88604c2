/** The exact working memory of a stage's training executable, without building the executable. */
import type { Task } from '../pipeline/schedule.js';
import type { ChunkLayout } from '../pipeline/virtualStages.js';
import { joinChunks } from '../plan/chunks.js';
import { sizesOf } from '../plan/executable.js';
import { listInstructions } from '../plan/instructions.js';
import type { LoweredStage } from '../plan/lower.js';
import { layOutSpaces } from '../plan/memory.js';

export interface WorkingMemory {
  readonly arenaBytes: number;
  /** Slots of the `saved` and `recomputed` spaces: micro-batches (of a chunk) held at once in each state. */
  readonly numSaved: number;
  readonly numRecomputed: number;
}

export interface StagePosition {
  readonly tasks: readonly Task[];
  readonly numMicroBatches: number;
  readonly layout: ChunkLayout;
  readonly stage: number;
}

/** `chunks`: the stage's, in order. */
export function workingMemory(chunks: readonly LoweredStage[], position: StagePosition): WorkingMemory {
  const { slotBytes } = listInstructions({
    ...position,
    chunks,
    // Which ranks the neighbours are does not matter.
    rankOfStage: (stage) => stage,
    closing: 'train',
    reducesState: false,
  });
  return {
    arenaBytes: layOutSpaces(sizesOf(joinChunks(chunks).bytes, slotBytes)).totalBytes,
    numSaved: slotBytes.saved.length,
    numRecomputed: slotBytes.recomputed.length,
  };
}
