/** Host arrays as bytes on the wire and back; large ones in chunks. */
import { MerakError } from '../errors.js';
import type { HostArray } from '../runtime/device.js';
import type { ParameterChunk, WireTensor } from './messages.js';

/** Keeps one parameter of any size far from the 4 GB limit of a gRPC message. */
export const CHUNK_BYTES = 16 * 1024 * 1024;

export type WireDType = 'float32' | 'int32' | 'uint8';

export function wireDType(array: HostArray): WireDType {
  if (array instanceof Float32Array) return 'float32';
  return array instanceof Int32Array ? 'int32' : 'uint8';
}

/** A view of the same memory. */
export function bytesOf(array: HostArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** A fresh, aligned copy. Raises 'coordinator/protocol' for an unknown dtype or a length that is no multiple of it. */
export function arrayFromBytes(dtype: string, bytes: Uint8Array): HostArray {
  const copy = new Uint8Array(bytes.byteLength);
  copy.set(bytes);
  return viewOf(dtype, copy);
}

/** As `arrayFromBytes` without the copy: `bytes` must start at offset 0 of its buffer. */
export function viewOf(dtype: string, bytes: Uint8Array<ArrayBuffer>): HostArray {
  const width = dtype === 'uint8' ? 1 : 4;
  if (bytes.byteLength % width !== 0) {
    throw new MerakError('coordinator/protocol', `${bytes.byteLength} bytes are no whole number of ${dtype} elements`);
  }
  if (dtype === 'float32') return new Float32Array(bytes.buffer, 0, bytes.byteLength / width);
  if (dtype === 'int32') return new Int32Array(bytes.buffer, 0, bytes.byteLength / width);
  if (dtype === 'uint8') return bytes;
  throw new MerakError('coordinator/protocol', `a tensor of dtype '${dtype}' arrived`, {
    expected: 'float32, int32 or uint8',
  });
}

/** Doubles as bytes (a view) and back (a copy). */
export function bytesOfDoubles(doubles: Float64Array): Uint8Array {
  return new Uint8Array(doubles.buffer, doubles.byteOffset, doubles.byteLength);
}

export function doublesFromBytes(bytes: Uint8Array): Float64Array {
  if (bytes.byteLength % 8 === 0) return new Float64Array(Uint8Array.from(bytes).buffer);
  throw new MerakError('coordinator/protocol', `${bytes.byteLength} bytes are no whole number of doubles`);
}

export function wireTensors(arrays: ReadonlyMap<string, HostArray>): WireTensor[] {
  return [...arrays].map(([name, array]) => ({ name, dtype: wireDType(array), data: bytesOf(array) }));
}

export function arraysFromWire(tensors: readonly WireTensor[]): Map<string, HostArray> {
  return new Map(tensors.map(({ name, dtype, data }) => [name, arrayFromBytes(dtype, data)]));
}

/** The array cut into chunks of at most `chunkBytes`, at least one. */
export function* chunksOf(
  index: number,
  moment: number,
  array: Float32Array | Int32Array,
  chunkBytes = CHUNK_BYTES,
): Generator<ParameterChunk> {
  const bytes = bytesOf(array);
  const dtype = wireDType(array);
  const total = bytes.byteLength;
  for (let offset = 0; offset === 0 || offset < total; offset += chunkBytes) {
    yield { index, moment, dtype, offset, total, data: bytes.subarray(offset, Math.min(total, offset + chunkBytes)) };
  }
}

/** Puts chunks that arrive in order together again: `add` returns the array once the last one is in. */
export function chunkAssembler(): { add(chunk: ParameterChunk): Float32Array | Int32Array | undefined } {
  let bytes: Uint8Array<ArrayBuffer> | undefined;
  let filled = 0;
  return {
    add(chunk) {
      bytes ??= new Uint8Array(chunk.total);
      if (chunk.offset !== filled || chunk.total !== bytes.byteLength || filled + chunk.data.byteLength > chunk.total) {
        throw new MerakError('coordinator/protocol', `a chunk of parameter ${chunk.index} is out of order`, {
          expected: `offset ${filled} of ${bytes.byteLength} bytes`,
          received: `${chunk.data.byteLength} bytes at offset ${chunk.offset} of ${chunk.total}`,
        });
      }
      bytes.set(chunk.data, chunk.offset);
      filled += chunk.data.byteLength;
      if (filled < chunk.total) return undefined;
      const array = viewOf(chunk.dtype, bytes);
      if (array instanceof Uint8Array) {
        throw new MerakError('coordinator/protocol', `parameter ${chunk.index} arrived as ${chunk.dtype}`);
      }
      return array;
    },
  };
}
