/** The safetensors format: 8 bytes of header length, a JSON header, then the tensors' bytes. No code, no pickle. */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { MerakError } from '../errors.js';

export type SafetensorsDType = 'F32' | 'I32' | 'I8' | 'U8' | 'BOOL';

/** Those of other programs' files: the first two are read as float32, the rest are passed over. */
export type ForeignDType = 'F16' | 'BF16' | 'F64' | 'I64' | 'I16' | 'U16' | 'U32' | 'U64';

export interface TensorEntry {
  readonly dtype: SafetensorsDType | ForeignDType;
  readonly shape: readonly number[];
  /** Half-open byte range after the header. */
  readonly data_offsets: readonly [number, number];
}

export interface NamedTensor {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Int8Array | Uint8Array;
}

const MAX_HEADER_BYTES = 100 * 1024 * 1024;
const BYTES_OF = {
  F32: 4,
  I32: 4,
  I8: 1,
  U8: 1,
  BOOL: 1,
  F16: 2,
  BF16: 2,
  F64: 8,
  I64: 8,
  I16: 2,
  U16: 2,
  U32: 4,
  U64: 8,
} as const;

/** Writes the tensors one after the other (each is asked for only when its turn comes) and returns the file's SHA-256. */
export async function writeSafetensors(
  path: string,
  tensors: readonly Omit<NamedTensor, 'data'>[],
  dataOf: (index: number) => Promise<NamedTensor['data']>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<string> {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const { name, dtype, shape } of tensors) {
    const bytes = shape.reduce((product, extent) => product * extent, 1) * BYTES_OF[dtype];
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  // Spaces pad the header so that the data begins 8-byte aligned.
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, 0x20);
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));

  const hash = createHash('sha256');
  const file = await open(path, 'w');
  try {
    for (const chunk of [length, padded]) {
      hash.update(chunk);
      await writeFully(file, chunk);
    }
    for (let i = 0; i < tensors.length; i++) {
      const data = await dataOf(i);
      const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
      hash.update(bytes);
      await writeFully(file, bytes);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return hash.digest('hex');
}

async function writeFully(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done);
    done += bytesWritten;
  }
}

/** An open safetensors file. Close it when done. */
export interface SafetensorsFile {
  readonly entries: ReadonlyMap<string, TensorEntry>;
  read(name: string): Promise<NamedTensor>;
  close(): Promise<void>;
}

/** @throws MerakError checkpoint/missing, checkpoint/corrupt */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw new MerakError('checkpoint/missing', `cannot open ${path}`, { path, cause });
  });
  try {
    const { size } = await file.stat();
    const headerBytes = size >= 8 ? Number((await readAt(file, path, 0, 8)).readBigUInt64LE()) : Number.NaN;
    if (!(headerBytes <= MAX_HEADER_BYTES && 8 + headerBytes <= size)) throw corrupt(path, 'its header is cut off');
    const entries = parseHeader(path, await readAt(file, path, 8, headerBytes), size - 8 - headerBytes);
    return {
      entries,
      async read(name) {
        const entry = entries.get(name);
        if (entry === undefined) throw new MerakError('checkpoint/missing', `no tensor '${name}'`, { path });
        const [begin, end] = entry.data_offsets;
        const bytes = await readAt(file, path, 8 + headerBytes + begin, end - begin);
        const dtype = readAs(entry.dtype);
        if (dtype === undefined)
          throw corrupt(path, `tensor '${name}' has dtype ${entry.dtype}, which Merak does not read`);
        const data = entry.dtype === 'F16' || entry.dtype === 'BF16' ? widen(entry.dtype, bytes) : view(dtype, bytes);
        return { name, dtype, shape: entry.shape, data };
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function parseHeader(path: string, bytes: Buffer, dataBytes: number): Map<string, TensorEntry> {
  let header: Record<string, TensorEntry>;
  try {
    header = JSON.parse(bytes.toString('utf8')) as Record<string, TensorEntry>;
  } catch (cause) {
    throw new MerakError('checkpoint/corrupt', 'the header of a safetensors file is not JSON', { path, cause });
  }
  const entries = new Map(Object.entries(header).filter(([name]) => name !== '__metadata__'));
  for (const [name, entry] of entries) {
    const size = BYTES_OF[entry.dtype];
    if (size === undefined) throw corrupt(path, `tensor '${name}' has dtype ${entry.dtype}, which Merak does not read`);
    const [begin, end] = entry.data_offsets;
    const bytesExpected = entry.shape.reduce((product, extent) => product * extent, 1) * size;
    if (end - begin !== bytesExpected || begin < 0 || end > dataBytes)
      throw corrupt(path, `tensor '${name}' is cut off`);
  }
  return entries;
}

async function readAt(file: FileHandle, path: string, position: number, length: number): Promise<Buffer> {
  // A buffer of its own: views of 4-byte types need an aligned start.
  const bytes = Buffer.from(new ArrayBuffer(length));
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) throw corrupt(path, 'the file is cut off');
    done += bytesRead;
  }
  return bytes;
}

function view(dtype: SafetensorsDType, bytes: Buffer): NamedTensor['data'] {
  if (dtype === 'F32') return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  if (dtype === 'I32') return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  if (dtype === 'I8') return new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

function readAs(dtype: SafetensorsDType | ForeignDType): SafetensorsDType | undefined {
  if (dtype === 'F16' || dtype === 'BF16') return 'F32';
  return READABLE.find((own) => own === dtype);
}

const READABLE: readonly SafetensorsDType[] = ['F32', 'I32', 'I8', 'U8', 'BOOL'];

/** Half-precision numbers as float32; exact. */
function widen(dtype: 'F16' | 'BF16', bytes: Buffer): Float32Array {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  if (dtype === 'F16') return Float32Array.from(halves, float16);
  return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
}

/** IEEE 754 binary16. */
function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function corrupt(path: string, why: string): MerakError {
  return new MerakError('checkpoint/corrupt', `damaged safetensors file: ${why}`, {
    path,
    hint: 'restore from an older checkpoint',
  });
}
