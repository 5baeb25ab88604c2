/** What a device's kernels take beside the arenas for one shard's programs. */

import type { LoweredStage } from '../plan/lower.js';
import { layOutSpaces } from '../plan/memory.js';
import { type Executable, type Program, WORKING_SPACES, type WorkspaceOf } from '../plan/plan.js';

export interface ShardWorkspace {
  /** Shared by all that a rank runs. */
  readonly scratchBytes: number;
  /** Weights as products like them, where several micro-batches use them; those of a recomputing forward pass come on top. */
  readonly keptBytes: number;
  readonly recomputingBytes: number;
  /** Weights in 16 bits, however many micro-batches use them. */
  readonly roundedBytes: number;
}

export const NO_WORKSPACE: ShardWorkspace = {
  scratchBytes: 0,
  keptBytes: 0,
  recomputingBytes: 0,
  roundedBytes: 0,
};

/** @param persistentBytes of the shard's parameters as the programs address them */
export function shardWorkspace(
  { programs, bytes }: Pick<LoweredStage, 'programs' | 'bytes'>,
  persistentBytes: number,
  workspaceOf: WorkspaceOf,
): ShardWorkspace {
  const { spaces, totalBytes } = layOutSpaces(
    WORKING_SPACES.map((space) => ({ space, slotBytes: [bytes[space] ?? 0] })),
  );
  const persistent = layOutSpaces(
    (['parameters', 'gradients'] as const).map((space) => ({ space, slotBytes: [persistentBytes] })),
  );
  const ask = (some: readonly Program[]) =>
    workspaceOf(executable(some, spaces, totalBytes), { persistentSpaces: persistent.spaces });
  const all = ask(programs);
  const forward = ask(programs.filter(({ kind }) => kind === 'forward'));
  return {
    scratchBytes: all.scratchBytes,
    keptBytes: all.keptBytes,
    recomputingBytes: forward.keptBytes,
    roundedBytes: all.roundedWeights.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

/** Of two micro-batches that train, so that what is kept between them counts. */
function executable(programs: readonly Program[], spaces: Executable['spaces'], arenaBytes: number): Executable {
  const slots = {
    batch: 0,
    received: 0,
    sent: 0,
    saved: 0,
    receivedGradients: 0,
    sentGradients: 0,
    pending: 0,
    recomputed: 0,
  };
  return {
    name: 'shard',
    numMicroBatches: 2,
    microBatchSize: 1,
    spaces,
    arenaBytes,
    programs,
    inputs: [],
    metrics: [],
    outputs: [],
    constants: [],
    schedule: [{ kind: 'backward', micro: 0, slots }],
  };
}
