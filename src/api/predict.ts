/** Predictions for any number of samples from an executable of one batch size. */
import * as tf from '@tensorflow/tfjs';
import { type ArrayField, gatherRows } from '../data/arrays.js';
import type { HostArray } from '../runtime/device.js';
import type { Prediction, Session } from './session.js';

/** Runs batch after batch; the last one is filled up with repeats of the last sample, whose results are dropped. */
export async function predictBatches(
  session: Session,
  fields: readonly ArrayField[],
  numSamples: number,
  batchSize: number,
): Promise<tf.Tensor | tf.Tensor[] | Record<string, tf.Tensor>> {
  await session.start({ fields: fields.map((field) => field.spec), batchSize });
  const results = new Map<string, { prediction: Prediction; data: HostArray }>();
  for (let begin = 0; begin < numSamples; begin += batchSize) {
    const rows = Uint32Array.from({ length: batchSize }, (_, i) => Math.min(begin + i, numSamples - 1));
    for (const prediction of await session.predict(gatherRows(fields, rows))) {
      const perSample = prediction.data.length / batchSize;
      let whole = results.get(prediction.name);
      if (whole === undefined) {
        whole = {
          prediction,
          data: new (prediction.data.constructor as Float32ArrayConstructor)(numSamples * perSample),
        };
        results.set(prediction.name, whole);
      }
      const size = Math.min(batchSize, numSamples - begin);
      whole.data.set(prediction.data.subarray(0, size * perSample), begin * perSample);
    }
  }
  const tensors = [...results].map(([name, { prediction, data }]): [string, tf.Tensor] => [
    name,
    tf.tensor(data, [numSamples, ...prediction.sampleShape], prediction.dtype),
  ]);
  if (tensors.length === 1) return tensors[0]![1];
  return session.model instanceof tf.LayersModel ? tensors.map(([, tensor]) => tensor) : Object.fromEntries(tensors);
}
