/** Matrices in NumPy's .npy files, read by rows so that they may be larger than memory, and written likewise. */
import { type FileHandle, open } from 'node:fs/promises';
import { MerakError } from '../../errors.js';

const MAGIC = '\x93NUMPY';
const DTYPES: Readonly<Record<string, 4 | 8>> = { '<f4': 4, '<f8': 8 };

/** Rows of numbers that are read a block at a time. */
export interface RowSource {
  readonly numRows: number;
  /** Numbers of a row. */
  readonly size: number;
  /** [count, size], float32. */
  read(begin: number, count: number): Promise<Float32Array>;
}

export interface NpyFile extends RowSource {
  close(): Promise<void>;
}

/** Rows that lie in memory. */
export function rowsInMemory(data: Float32Array, size: number): RowSource {
  return {
    numRows: data.length / size,
    size,
    read: async (begin, count) => data.subarray(begin * size, (begin + count) * size),
  };
}

/**
 * A matrix of little-endian float32 or float64, rows first (numpy.save of a C-ordered 2-d array).
 *
 * @throws MerakError trainer/data: not such a file, cut short, or (while reading) numbers that are not finite, naming the row
 */
export async function openNpy(file: string): Promise<NpyFile> {
  const handle = await open(file, 'r').catch((cause: unknown) => {
    throw new MerakError('trainer/data', 'a data file cannot be read', { path: file, cause });
  });
  try {
    const { shape, width, begin } = await readHeader(handle, file);
    const [numRows, size] = shape;
    const [expected, received] = [begin + numRows * size * width, (await handle.stat()).size];
    if (expected !== received)
      throw bad(file, 'a matrix is cut short or too long', `${expected} bytes`, `${received} bytes`);
    return {
      numRows,
      size,
      async read(row, count) {
        const bytes = new Uint8Array(count * size * width);
        await readFully(handle, bytes, begin + row * size * width, file);
        const values = width === 4 ? new Float32Array(bytes.buffer) : Float32Array.from(new Float64Array(bytes.buffer));
        const wrong = values.findIndex((value) => !Number.isFinite(value));
        if (wrong === -1) return values;
        const where = `${file}, row ${row + Math.floor(wrong / size)}, column ${wrong % size}`;
        throw bad(where, 'a matrix holds a number that is not finite', 'a finite number', String(values[wrong]));
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Writes [numRows, size] float32 block by block. */
export async function writeNpy(
  file: string,
  { numRows, size }: { readonly numRows: number; readonly size: number },
  blocks: AsyncIterable<Float32Array>,
): Promise<void> {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${numRows}, ${size}), }`;
  // Data begins at a multiple of 64 bytes.
  const header = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`;
  const start = Buffer.alloc(10 + header.length);
  start.write(MAGIC, 'latin1');
  start.writeUInt8(1, 6);
  start.writeUInt16LE(header.length, 8);
  start.write(header, 10, 'latin1');
  const handle = await open(file, 'w');
  try {
    await handle.write(start);
    for await (const block of blocks)
      await handle.write(new Uint8Array(block.buffer, block.byteOffset, block.byteLength));
  } finally {
    await handle.close();
  }
}

async function readHeader(
  handle: FileHandle,
  file: string,
): Promise<{ shape: [number, number]; width: 4 | 8; begin: number }> {
  const start = Buffer.alloc(12);
  const { bytesRead } = await handle.read(start, 0, 12, 0);
  if (bytesRead < 12 || start.toString('latin1', 0, 6) !== MAGIC) {
    throw bad(
      file,
      'a file is not in the .npy format',
      'a file by numpy.save',
      JSON.stringify(start.toString('latin1', 0, 6)),
    );
  }
  const isOld = start[6] === 1;
  const [length, at] = isOld ? [start.readUInt16LE(8), 10] : [start.readUInt32LE(8), 12];
  const bytes = new Uint8Array(length);
  await readFully(handle, bytes, at, file);
  const text = Buffer.from(bytes).toString('latin1');
  const dtype = /'descr':\s*'([^']*)'/.exec(text)?.[1] ?? '';
  const shape = /'shape':\s*\((\d+),\s*(\d+),?\s*\)/.exec(text);
  const width = DTYPES[dtype];
  if (width === undefined || shape === null || !/'fortran_order':\s*False/.test(text)) {
    throw bad(file, 'a .npy file holds no matrix that can be read', '2-d, C order, <f4 or <f8', text.trim());
  }
  const [numRows, size] = [Number(shape[1]), Number(shape[2])];
  if (numRows === 0 || size === 0) throw bad(file, 'a matrix is empty', 'rows and columns', text.trim());
  return { shape: [numRows, size], width, begin: at + length };
}

async function readFully(handle: FileHandle, into: Uint8Array, position: number, file: string): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await handle.read(into, done, into.length - done, position + done);
    if (bytesRead === 0)
      throw bad(file, 'a file is cut short', `${position + into.length} bytes`, `${position + done} bytes`);
    done += bytesRead;
  }
}

function bad(path: string, message: string, expected: string, received: string): MerakError {
  return new MerakError('trainer/data', message, { path, expected, received });
}
