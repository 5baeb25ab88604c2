/**
 * NCCL by itself: collectives between GPUs from Node.js, one rank per process (or several ranks with GPUs of their own in one).
 * Found at run time; see `merak doctor`.
 *
 * @example
 * import { getUniqueId, init } from 'merak/nccl';
 * const id = getUniqueId();                                  // on one rank; hand it to the others
 * const comm = await init({ device: rank, numRanks: 2, rank, id });
 * const x = await comm.alloc(4 * 1024);
 * await x.write(new Float32Array(1024).fill(rank + 1));
 * await comm.allReduce(x, x, { count: 1024 });
 * console.log(await x.read(Float32Array));                   // 3, 3, 3, ...
 * comm.close();
 */
import { MerakError } from '../errors.js';
import { loadAddon } from '../runtime/native/addon.js';
import { toMerakError, translated } from '../runtime/native/error.js';
import { findLibrary } from '../runtime/native/gpus.js';
import { type Buffer, type BufferRange, Communicator } from './communicator.js';

export type { Dtype, GroupCalls, MessageOptions, ReduceOptions, Reduction, TransferOptions } from './communicator.js';
export type { Buffer, BufferRange, Communicator };

export interface InitOptions {
  /** CUDA device of this rank (cuda:N). No two ranks of a communicator may share one. Default 0. */
  readonly device?: number;
  readonly numRanks: number;
  readonly rank: number;
  /** The same on every rank: from `getUniqueId` on one of them. */
  readonly id: Uint8Array;
  /** Longest wait for the others, in joining and in each wait afterwards. Default 100. */
  readonly timeoutSeconds?: number;
}

/** 128 bytes that name a communicator to be. Raises engine/unsupported without NCCL. */
export function getUniqueId(): Uint8Array {
  try {
    return loadAddon().ncclUniqueId();
  } catch (error) {
    throw toMerakError(error);
  }
}

/** NCCL's version and file. Raises engine/unsupported, saying where was looked, when there is none that will do. */
export function version(): { readonly version: string; readonly path: string } {
  const found = findLibrary('NCCL');
  if (found !== undefined) return { version: found.version, path: found.path };
  throw new MerakError('engine/unsupported', 'NCCL is not on this machine', { hint: 'run merak doctor' });
}

/**
 * Joins the communicator; resolves once every rank has. Never blocks the event loop.
 *
 * Raises engine/no-gpu and engine/unsupported where driver, device or NCCL is missing, comm/timeout when not everybody came in
 * time, engine/cuda with NCCL's words when it refuses (two ranks on one GPU, ...).
 */
export async function init(options: InitOptions): Promise<Communicator> {
  const { device = 0, numRanks, rank, id, timeoutSeconds = 100 } = options;
  if (!Number.isInteger(rank) || rank < 0 || rank >= numRanks) {
    throw new MerakError('config/invalid', 'no such rank', {
      path: 'rank',
      expected: `0 to ${numRanks - 1}`,
      received: `${rank}`,
    });
  }
  return translated(async () => {
    const native = new (loadAddon().NcclComm)({ device, numRanks, rank, id, timeoutSeconds });
    try {
      await native.init();
    } catch (error) {
      native.close();
      throw error;
    }
    return new Communicator(native, rank, numRanks);
  });
}
