/** Accepts tf.data datasets and Merak's own sources alike. */
import * as tf from '@tensorflow/tfjs';
import type { BatchSource, HostBatch } from '../data/source.js';
import { streamSource } from '../data/stream.js';
import { MerakError } from '../errors.js';
import type { FieldSpec, UserModel } from '../trace/model.js';
import { hostBatch, namedTensors, type TensorInput } from './inputs.js';

/** What tfjs's dataset.iterator() gives. */
interface TensorIterator {
  next(): Promise<IteratorResult<unknown>>;
}

/** A tf.data.Dataset (anything with an `iterator()`), or a Merak BatchSource. */
export type DatasetInput = BatchSource | { iterator(): Promise<TensorIterator> };

/** A source over the dataset; reads its first batch to learn the fields. */
export async function datasetSource(
  model: UserModel,
  dataset: DatasetInput,
  numBatches: number | undefined,
): Promise<BatchSource> {
  if ('batch' in dataset && 'fields' in dataset) return limited(dataset, numBatches);
  const first = await readBatch(model, await dataset.iterator());
  if (first === null) throw new MerakError('config/invalid', 'the dataset is empty', { path: 'fitDataset' });
  const open = async (): Promise<AsyncIterator<HostBatch>> => {
    const iterator = await dataset.iterator();
    return {
      async next() {
        const read = await readBatch(model, iterator);
        return read === null ? { done: true, value: undefined } : { done: false, value: read.batch };
      },
    };
  };
  return streamSource(open, first.batch, first.fields, numBatches, numBatches !== undefined);
}

function limited(source: BatchSource, numBatches: number | undefined): BatchSource {
  if (numBatches === undefined) return source;
  return {
    ...source,
    numBatches,
    batch: async (epoch, index) => (index < numBatches ? source.batch(epoch, index) : null),
  };
}

async function readBatch(
  model: UserModel,
  iterator: TensorIterator,
): Promise<{ batch: HostBatch; fields: FieldSpec[] } | null> {
  const { value, done } = await iterator.next();
  if (done === true || value === null || value === undefined) return null;
  const tensors = namedOf(model, value);
  const read = await hostBatch(tensors);
  tf.dispose([...tensors.values()]);
  return read;
}

function namedOf(model: UserModel, value: unknown): Map<string, tf.Tensor> {
  if (!(model instanceof tf.LayersModel)) return namedTensors(model, value as TensorInput);
  const { xs, ys } = value as { xs?: TensorInput; ys?: TensorInput };
  if (xs === undefined || ys === undefined) {
    throw new MerakError('config/invalid', 'a dataset for a tf.layers model yields { xs, ys }', {
      path: 'fitDataset',
      received: Object.keys(value as object).join(', '),
    });
  }
  return namedTensors(model, xs, ys);
}
