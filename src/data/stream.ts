/** Batches from a stream that can only be read forward: a tf.data.Dataset, an async generator. */
import { MerakError } from '../errors.js';
import type { FieldSpec } from '../trace/model.js';
import type { BatchSource, HostBatch } from './source.js';

/** Starts one pass over the data. */
export type StreamOpener = () => Promise<AsyncIterator<HostBatch>>;

/**
 * A source that reads forward. Asking for an earlier batch of the same epoch, or a later epoch, starts a new pass and
 * skips; a stream resumed mid-epoch therefore reads and drops what was already seen.
 *
 * @param numBatches batches of an epoch; undefined reads each pass to its end
 * @param endless whether an epoch goes on where the last one stopped (tfjs's `batchesPerEpoch`)
 */
export function streamSource(
  open: StreamOpener,
  first: HostBatch,
  fields: readonly FieldSpec[],
  numBatches: number | undefined,
  endless: boolean,
): BatchSource {
  let pass: { iterator: AsyncIterator<HostBatch>; epoch: number; next: number } | undefined;
  const read = async (): Promise<HostBatch | null> => {
    const { value, done } = await pass!.iterator.next();
    pass!.next++;
    return done === true ? null : (value as HostBatch);
  };
  return {
    fields,
    batchSize: first.size,
    numBatches,
    async batch(epoch, index) {
      if (numBatches !== undefined && index >= numBatches) return null;
      if (pass !== undefined && endless && epoch === pass.epoch + 1 && index === 0) {
        pass = { ...pass, epoch, next: 0 };
      }
      if (pass === undefined || pass.epoch !== epoch || pass.next > index) {
        pass = { iterator: await open(), epoch, next: 0 };
      }
      while (pass.next < index) if ((await read()) === null) return null;
      const batch = await read();
      if (batch !== null || numBatches === undefined || index === 0) return batch;
      // The data ended before the epoch did: go on from its start, as tfjs's `repeat` would.
      pass = { iterator: await open(), epoch, next: index };
      const again = await read();
      if (again === null)
        throw new MerakError('config/invalid', 'the dataset yields no batches', { path: 'fitDataset' });
      return again;
    },
  };
}
