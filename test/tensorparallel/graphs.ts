/** Graphs for these tests: traced functions, with the batch dim found by tracing at two batch sizes. */
import type * as tf from '@tensorflow/tfjs';
import type { DType, Graph } from '../../src/graph/graph.js';
import { type GptConfig, gpt } from '../../src/models/gpt.js';
import { type Recorder, record } from '../../src/trace/record.js';

export type Body = (recorder: Recorder, batch: number) => Record<string, tf.Tensor>;

/** Records `body` at `batchSize` and marks as batch dim what grows with it. */
export function trace(body: Body, batchSize: number): Graph {
  const at = (batch: number): Graph => record((recorder) => ({ outputs: Object.entries(body(recorder, batch)) }));
  const graph = at(batchSize);
  const larger = at(batchSize + 1);
  const values = graph.values.map((value, id) => ({
    ...value,
    batchDim: value.shape.findIndex((extent, dim) => extent !== larger.values[id]!.shape[dim]),
  }));
  return { ...graph, values };
}

/** The graph fed a parameter declared by name, without a variable. */
export function weight(
  recorder: Recorder,
  name: string,
  shape: readonly number[],
  dtype: DType = 'float32',
): tf.Tensor {
  return recorder.parameter(name, shape, dtype);
}

export function gptGraph(config: GptConfig, batchSize: number, length: number): Graph {
  const model = gpt(config);
  try {
    return trace((recorder, batch) => {
      const tokens = recorder.input('tokens', [batch, length], 'int32');
      const targets = recorder.input('targets', [batch, length], 'int32');
      return { loss: model.loss({ tokens, targets }, { training: true }) };
    }, batchSize);
  } finally {
    model.dispose();
  }
}
