/** A model to predict and to measure: its graph at any micro-batch size, its first weights, and data. */

import * as tf from '@tensorflow/tfjs';
import type { Graph } from '../../src/graph/graph.js';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import type { HostArray } from '../../src/runtime/device.js';
import { fieldsOfModel } from '../../src/trace/fields.js';
import type { FieldSpec, UserModel } from '../../src/trace/model.js';
import { traceModel } from '../../src/trace/trace.js';

export interface Subject {
  readonly name: string;
  /** Samples of a step. */
  readonly batchSize: number;
  readonly traceAt: (microBatchSize: number) => Graph;
  readonly initial: ReadonlyMap<string, HostArray>;
  /** Data of one replica's step. */
  readonly inputs: (numSamples: number, step: number) => Map<string, HostArray>;
}

export interface SubjectInput {
  readonly name: string;
  readonly model: UserModel;
  readonly batchSize: number;
  /** Not for tf.layers models, which have their own. */
  readonly fields?: readonly FieldSpec[];
  /** Integers in the data are below this. */
  readonly vocabularySize?: number;
}

export function makeSubject({ name, model, batchSize, fields, vocabularySize = 2 }: SubjectInput): Subject {
  const specs = fields ?? (model instanceof tf.LayersModel ? fieldsOfModel(model) : []);
  const graphs = new Map<number, Graph>();
  const first = traceModel(model, 'train', specs, 1);
  const initial = new Map(
    first.graph.parameters.map(({ name: parameter }, index) => [
      parameter,
      first.variables[index]?.dataSync() as HostArray,
    ]),
  );
  return {
    name,
    batchSize,
    initial,
    traceAt(microBatchSize) {
      const graph =
        graphs.get(microBatchSize) ?? optimizeGraph(traceModel(model, 'train', specs, microBatchSize).graph);
      graphs.set(microBatchSize, graph);
      return graph;
    },
    inputs: (numSamples, step) =>
      new Map(
        specs.map(({ name: field, shape, dtype }) => {
          const length = numSamples * shape.reduce((product, size) => product * size, 1);
          const at = (i: number) => i * 31 + step * 7 + ((i * i) >> 5);
          const data =
            dtype === 'int32'
              ? Int32Array.from({ length }, (_, i) => at(i) % vocabularySize)
              : Float32Array.from({ length }, (_, i) => Math.sin(at(i)));
          return [field, data];
        }),
      ),
  };
}
