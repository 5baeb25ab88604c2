/** Where batches come from: a pure function of (epoch, index), so that a run can be resumed and compared. */
import type { HostArray } from '../runtime/device.js';
import type { FieldSpec } from '../trace/model.js';

/** A batch on the host: each field's samples concatenated along dim 0. */
export interface HostBatch {
  readonly size: number;
  readonly fields: ReadonlyMap<string, HostArray>;
}

export interface BatchSource {
  readonly fields: readonly FieldSpec[];
  /** Samples of a full batch. */
  readonly batchSize: number;
  /** Batches of an epoch; undefined when only the end of the stream tells. */
  readonly numBatches: number | undefined;
  /** The `index`-th batch of `epoch`, both from 0; null past the end. The last one may be smaller than batchSize. */
  batch(epoch: number, index: number): Promise<HostBatch | null>;
}
