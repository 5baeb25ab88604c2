/** Batches from arrays in memory: what `fit(x, y)` uses. */
import type { HostArray } from '../runtime/device.js';
import type { FieldSpec } from '../trace/model.js';
import { shuffledIndices } from './shuffle.js';
import type { BatchSource, HostBatch } from './source.js';

export interface ArrayField {
  readonly spec: FieldSpec;
  /** All samples, concatenated. */
  readonly data: HostArray;
}

export interface ArrayOptions {
  readonly numSamples: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly seed: number;
}

/** A source over whole arrays; the order of an epoch depends on (seed, epoch) alone. */
export function arraySource(fields: readonly ArrayField[], options: ArrayOptions): BatchSource {
  const { numSamples, batchSize, shuffle, seed } = options;
  let shuffled: { epoch: number; order: Uint32Array } | undefined;
  const orderOf = (epoch: number): Uint32Array => {
    if (shuffled?.epoch !== epoch) shuffled = { epoch, order: shuffledIndices(numSamples, seed, epoch) };
    return shuffled.order;
  };
  return {
    fields: fields.map((field) => field.spec),
    batchSize,
    numBatches: Math.ceil(numSamples / batchSize),
    async batch(epoch, index) {
      const begin = index * batchSize;
      const size = Math.min(batchSize, numSamples - begin);
      if (size <= 0) return null;
      const rows = shuffle ? orderOf(epoch).subarray(begin, begin + size) : range(begin, size);
      return gatherRows(fields, rows);
    },
  };
}

/** The given samples of every field. */
export function gatherRows(fields: readonly ArrayField[], rows: Uint32Array): HostBatch {
  const gathered = fields.map(({ spec, data }): [string, HostArray] => {
    const rowLength = spec.shape.reduce((product, extent) => product * extent, 1);
    const out = emptyLike(data, rows.length * rowLength);
    for (const [i, row] of rows.entries())
      out.set(data.subarray(row * rowLength, (row + 1) * rowLength), i * rowLength);
    return [spec.name, out];
  });
  return { size: rows.length, fields: new Map(gathered) };
}

function range(begin: number, size: number): Uint32Array {
  return Uint32Array.from({ length: size }, (_, i) => begin + i);
}

function emptyLike(data: HostArray, length: number): HostArray {
  if (data instanceof Float32Array) return new Float32Array(length);
  return data instanceof Int32Array ? new Int32Array(length) : new Uint8Array(length);
}
