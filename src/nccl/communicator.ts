/** A joined NCCL communicator and its buffers. */
import { MerakError } from '../errors.js';
import type { NativeNcclComm, NcclOperation } from '../runtime/native/addon.js';
import { translated } from '../runtime/native/error.js';

export type Dtype = NcclOperation['dtype'];
export type Reduction = NcclOperation['op'];

/** Memory of the communicator's GPU. */
export interface Buffer {
  readonly bytes: number;
  /** Copies `data` to the buffer from byte `offset` on (default 0). */
  write(data: ArrayBufferView, offset?: number): Promise<void>;
  /** The contents as a new array of this type, once everything enqueued before is done. `count` elements from byte `offset` on. */
  read<T>(
    type: new (data: ArrayBuffer) => T,
    range?: { readonly offset?: number; readonly count?: number },
  ): Promise<T>;
  /** From byte `offset` on, for a call. */
  at(offset: number): BufferRange;
  free(): Promise<void>;
}

/** A place in a buffer. */
export interface BufferRange {
  readonly buffer: Buffer;
  readonly offset: number;
}

export interface TransferOptions {
  /** Elements per rank, as NCCL counts: of what each sends (all-gather) or keeps (reduce-scatter). */
  readonly count: number;
  /** Default 'float32'. */
  readonly dtype?: Dtype;
}
export interface ReduceOptions extends TransferOptions {
  /** Default 'sum'. */
  readonly op?: Reduction;
}
export interface MessageOptions extends TransferOptions {
  readonly peer: number;
}

type Place = Buffer | BufferRange;

/** The calls that a group may hold. They enqueue and return; errors come with the group's promise. */
export interface GroupCalls {
  allReduce(from: Place, to: Place, options: ReduceOptions): void;
  /** `from` holds `numRanks * count` elements; this rank gets its `count` of their sum in `to`. */
  reduceScatter(from: Place, to: Place, options: ReduceOptions): void;
  /** `to` gets `numRanks * count` elements, in the order of ranks. */
  allGather(from: Place, to: Place, options: TransferOptions): void;
  broadcast(from: Place, to: Place, options: TransferOptions & { readonly root: number }): void;
  send(from: Place, options: MessageOptions): void;
  recv(to: Place, options: MessageOptions): void;
}

interface Slot extends Buffer {
  readonly number: number;
}

/**
 * Calls run in order on one stream. Their promises resolve once they are enqueued; `read` and `synchronize` wait for what is under way.
 * Every wait ends with comm/timeout after the limit given to `init`, with comm/aborted after `abort`, with comm/peer-lost on an
 * asynchronous error of NCCL's; what is on the device is then aborted and the communicator is dead.
 */
export class Communicator {
  readonly rank: number;
  readonly numRanks: number;
  readonly #native: NativeNcclComm;

  /** Made by `init`. */
  constructor(native: NativeNcclComm, rank: number, numRanks: number) {
    this.#native = native;
    this.rank = rank;
    this.numRanks = numRanks;
  }

  /** Uninitialised memory of the GPU. Raises plan/out-of-memory. */
  async alloc(bytes: number): Promise<Buffer> {
    if (!Number.isSafeInteger(bytes) || bytes <= 0) {
      throw new MerakError('config/invalid', 'a buffer has one byte or more', { received: `${bytes}` });
    }
    const native = this.#native;
    const number = await translated(() => native.alloc(bytes));
    const slot: Slot = {
      number,
      bytes,
      write: (data, offset = 0) => {
        const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        return translated(() => native.write(number, offset, view));
      },
      read: async (type, { offset = 0, count } = {}) => {
        const size = (type as unknown as { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT;
        const wanted = count === undefined ? bytes - offset : count * size;
        const data = await translated(() => native.read(number, offset, wanted));
        return new type(data.slice().buffer);
      },
      at: (offset) => ({ buffer: slot, offset }),
      free: () => translated(() => native.free(number)),
    };
    return slot;
  }

  allReduce(from: Place, to: Place, options: ReduceOptions): Promise<void> {
    return this.group((calls) => calls.allReduce(from, to, options));
  }
  /** `from` holds `numRanks * count` elements; this rank gets its `count` of their sum in `to`. */
  reduceScatter(from: Place, to: Place, options: ReduceOptions): Promise<void> {
    return this.group((calls) => calls.reduceScatter(from, to, options));
  }
  /** `to` gets `numRanks * count` elements, in the order of ranks. */
  allGather(from: Place, to: Place, options: TransferOptions): Promise<void> {
    return this.group((calls) => calls.allGather(from, to, options));
  }
  broadcast(from: Place, to: Place, options: TransferOptions & { readonly root: number }): Promise<void> {
    return this.group((calls) => calls.broadcast(from, to, options));
  }
  /** Alone, a send occupies the stream until its receiver is there: put sends and receives that cross into one `group`. */
  send(from: Place, options: MessageOptions): Promise<void> {
    return this.group((calls) => calls.send(from, options));
  }
  recv(to: Place, options: MessageOptions): Promise<void> {
    return this.group((calls) => calls.recv(to, options));
  }

  /** The calls that `body` makes, enqueued as one (ncclGroupStart, ncclGroupEnd): their messages make progress together. */
  group(body: (calls: GroupCalls) => void): Promise<void> {
    const operations: NcclOperation[] = [];
    const add = (kind: NcclOperation['kind'], from: Place | undefined, to: Place | undefined, rest: Rest): void => {
      const [source, target] = [from ?? to!, to ?? from!].map(placeOf);
      const { count, dtype = 'float32', op = 'sum', peer = 0 } = rest;
      operations.push({
        kind,
        from: source!.number,
        fromOffset: source!.offset,
        to: target!.number,
        toOffset: target!.offset,
        count,
        dtype,
        op,
        peer,
      });
    };
    return translated(() => {
      body({
        allReduce: (from, to, options) => add('allReduce', from, to, options),
        reduceScatter: (from, to, options) => add('reduceScatter', from, to, options),
        allGather: (from, to, options) => add('allGather', from, to, options),
        broadcast: (from, to, { root, ...options }) => add('broadcast', from, to, { ...options, peer: root }),
        send: (from, options) => add('send', from, undefined, options),
        recv: (to, options) => add('recv', undefined, to, options),
      });
      return this.#native.submit(operations);
    });
  }

  /** Resolves once all that was enqueued is done. */
  synchronize(): Promise<void> {
    return translated(() => this.#native.synchronize());
  }

  /** NCCL's words for an error of what is under way, '' where there is none. */
  asyncError(): Promise<string> {
    return translated(() => this.#native.asyncError());
  }

  /** Ends what is under way here; waits reject with comm/aborted. Peers are not told: they have their own limits. */
  abort(reason: string): void {
    this.#native.abort(reason);
  }

  /** Frees everything, buffers included. What has not been waited for is aborted. */
  close(): void {
    this.#native.close();
  }
}

type Rest = ReduceOptions & { readonly peer?: number };

function placeOf(place: Place): { readonly number: number; readonly offset: number } {
  const { buffer, offset } = 'buffer' in place ? place : { buffer: place, offset: 0 };
  return { number: (buffer as Slot).number, offset };
}
