/** One rank's executable: its programs, the instructions that run them, and the working arena they share. */
import type { Task } from '../pipeline/schedule.js';
import { listInstructions } from './instructions.js';
import type { LoweredStage } from './lower.js';
import { layOutSpaces } from './memory.js';
import { coordinatesOf, rankOf } from './mesh.js';
import { type Executable, type Mesh, WORKING_SPACES } from './plan.js';

export interface ExecutableInput {
  readonly name: string;
  readonly mesh: Mesh;
  readonly rank: number;
  readonly lowered: LoweredStage;
  readonly tasks: readonly Task[];
  readonly closing: 'train' | 'evaluate' | 'predict';
  readonly numMicroBatches: number;
  readonly microBatchSize: number;
  readonly reducesState: boolean;
}

/** Spaces nobody uses are left out; `arenaBytes` is the executable's planned peak. */
export function buildRankExecutable(input: ExecutableInput): Executable {
  const { lowered, mesh, rank, numMicroBatches, microBatchSize } = input;
  const coordinates = coordinatesOf(mesh, rank);
  const neighbour = (step: number) => {
    const pp = coordinates.pp + step;
    return pp < 0 || pp >= mesh.pp ? null : rankOf(mesh, { ...coordinates, pp });
  };
  const { instructions, numSlots } = listInstructions({
    tasks: input.tasks,
    lowered,
    numMicroBatches,
    before: neighbour(-1),
    after: neighbour(1),
    closing: input.closing,
    reducesState: input.reducesState,
  });
  const slotsOf: Readonly<Record<string, number>> = numSlots;
  const sizes = WORKING_SPACES.map((space) => ({
    space,
    bytesPerSlot: lowered.bytes[space] ?? 0,
    numSlots: slotsOf[space] ?? 1,
  })).filter(({ bytesPerSlot, numSlots }) => bytesPerSlot > 0 && numSlots > 0);
  const { spaces, totalBytes } = layOutSpaces(sizes);
  return {
    name: input.name,
    numMicroBatches,
    microBatchSize,
    spaces,
    arenaBytes: totalBytes,
    programs: lowered.programs,
    schedule: instructions,
    inputs: lowered.inputs,
    metrics: lowered.metrics,
    outputs: lowered.outputs,
    constants: lowered.constants,
  };
}
