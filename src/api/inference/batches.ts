/** Any number of samples through a graph of one batch size. */
import * as tf from '@tensorflow/tfjs';
import { type ArrayField, gatherRows } from '../../data/arrays.js';
import { MerakError } from '../../errors.js';
import type { Graph } from '../../graph/graph.js';
import type { HostArray } from '../../runtime/device.js';
import type { InferenceEngine } from './engine.js';

/** An output of all samples. */
export interface Result {
  readonly name: string;
  /** Without the batch dim. */
  readonly sampleShape: readonly number[];
  readonly dtype: 'float32' | 'int32' | 'bool';
  readonly data: HostArray;
}

/** Batch by batch; the last one is filled up with repeats of the last sample, whose results are dropped. */
export async function runBatches(
  engine: InferenceEngine,
  graph: Graph,
  fields: readonly ArrayField[],
  numSamples: number,
): Promise<Result[]> {
  const batchSize = batchSizeOf(graph);
  checkFields(graph, fields);
  const results = graph.outputs.map(({ name, value }): Result => {
    const { shape, dtype } = graph.values[value]!;
    const size = tf.util.sizeFromShape(shape.slice(1)) * numSamples;
    const data =
      dtype === 'float32' ? new Float32Array(size) : dtype === 'int32' ? new Int32Array(size) : new Uint8Array(size);
    return { name, sampleShape: shape.slice(1), dtype, data };
  });
  for (let begin = 0; begin < numSamples; begin += batchSize) {
    const rows = Uint32Array.from({ length: batchSize }, (_, i) => Math.min(begin + i, numSamples - 1));
    const outputs = await engine.run(gatherRows(fields, rows).fields);
    const size = Math.min(batchSize, numSamples - begin);
    for (const { name, sampleShape, data } of results) {
      const perSample = tf.util.sizeFromShape([...sampleShape]);
      data.set(outputs.get(name)!.subarray(0, size * perSample), begin * perSample);
    }
  }
  return results;
}

/** The extent of every input's dim 0. */
export function batchSizeOf(graph: Graph): number {
  return graph.values[graph.inputs[0]?.value ?? -1]?.shape[0] ?? 1;
}

function checkFields(graph: Graph, fields: readonly ArrayField[]): void {
  for (const { name, value } of graph.inputs) {
    const { shape, dtype } = graph.values[value]!;
    const given = fields.find(({ spec }) => spec.name === name)?.spec;
    if (given !== undefined && given.dtype === dtype && given.shape.join() === shape.slice(1).join()) continue;
    throw new MerakError('config/batch', `the input '${name}' does not fit the model`, {
      expected: `${dtype} [${shape.slice(1).join(', ')}] per sample`,
      received: given === undefined ? 'nothing' : `${given.dtype} [${given.shape.join(', ')}]`,
    });
  }
}
