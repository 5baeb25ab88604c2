/** One rank's executable: its programs, the instructions that run them, and the working arena they share. */
import type { Task } from '../pipeline/schedule.js';
import type { ChunkLayout } from '../pipeline/virtualStages.js';
import { joinChunks } from './chunks.js';
import { listInstructions } from './instructions.js';
import type { LoweredStage } from './lower.js';
import { layOutSpaces, type SpaceSize, spaceBytes } from './memory.js';
import { coordinatesOf, rankOf } from './mesh.js';
import { type Executable, type Mesh, type Space, WORKING_SPACES } from './plan.js';

export interface ExecutableInput {
  readonly name: string;
  readonly mesh: Mesh;
  /** How model chunks lie on the stages. */
  readonly layout: ChunkLayout;
  readonly rank: number;
  /** The chunks of the rank's stage, in order. */
  readonly chunks: readonly LoweredStage[];
  readonly tasks: readonly Task[];
  readonly closing: 'train' | 'evaluate' | 'predict';
  readonly numMicroBatches: number;
  readonly microBatchSize: number;
  readonly reducesState: boolean;
}

/** Spaces nobody uses are left out; `arenaBytes` is the executable's planned peak. */
export function buildRankExecutable(input: ExecutableInput): Executable {
  const { chunks, layout, mesh, rank, numMicroBatches, microBatchSize } = input;
  const coordinates = coordinatesOf(mesh, rank);
  const { instructions, slotBytes } = listInstructions({
    tasks: input.tasks,
    chunks,
    layout,
    stage: coordinates.pp,
    numMicroBatches,
    rankOfStage: (pp) => rankOf(mesh, { ...coordinates, pp }),
    closing: input.closing,
    reducesState: input.reducesState,
  });
  const joined = joinChunks(chunks);
  const { spaces, totalBytes } = layOutSpaces(sizesOf(joined.bytes, slotBytes));
  return {
    name: input.name,
    numMicroBatches,
    microBatchSize,
    spaces,
    arenaBytes: totalBytes,
    programs: joined.programs,
    schedule: instructions,
    inputs: joined.inputs,
    metrics: joined.metrics,
    outputs: joined.outputs,
    constants: joined.constants,
  };
}

/** Of the working spaces that somebody uses; those without slots have one. */
export function sizesOf(
  bytes: LoweredStage['bytes'],
  slotBytes: Readonly<Partial<Record<Space, readonly number[]>>>,
): SpaceSize[] {
  return WORKING_SPACES.map((space) => ({ space, slotBytes: slotBytes[space] ?? [bytes[space] ?? 0] })).filter(
    (size) => spaceBytes(size) > 0,
  );
}
