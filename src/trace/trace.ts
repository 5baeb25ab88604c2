/** Tracing a user's model to a graph at one micro-batch size. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { checkGraph } from '../graph/check.js';
import { dropUnusedParameters } from '../graph/clean.js';
import { withBatchDims } from './batchDims.js';
import { compiledModel } from './compiled.js';
import { runFunctionModel } from './functionModel.js';
import { declareWeights, runLayersModel } from './layersModel.js';
import type { FieldSpec, Trace, TraceMode, UserModel } from './model.js';
import { noiseLayerPatches } from './noiseLayers.js';
import { patched } from './patch.js';
import { placeRandomNodes, raiseDropout, refuseRandomConstants } from './randomness.js';
import { type RecordAllOptions, type Recorder, type Recording, recordAll } from './record.js';

/**
 * Runs the model once on proxies of `batchSize` samples (and once at another size, to find the batch dims). Fields that
 * nothing reads stay inputs; variables nothing reads are left out. No variable is moved or changed.
 * Raises trace/data-read, trace/unknown-kernel, trace/dynamic-shape, trace/random-constant, trace/model.
 */
export function traceModel(model: UserModel, mode: TraceMode, fields: readonly FieldSpec[], batchSize: number): Trace {
  checkArguments(fields, batchSize);
  // An unbuilt Sequential would make its variables while it is traced.
  if (model instanceof tf.LayersModel) compiledModel(model);
  const recording = recordModel(model, mode, fields, batchSize);
  const raised = raiseDropout(recording);
  // Of the other only the shapes are wanted.
  const other = raiseDropout(recordModel(model, mode, fields, batchSize + 1, { namesSources: false }));
  refuseRandomConstants(raised, other);
  const placed = placeRandomNodes(withBatchDims(raised.graph, other.graph));
  const { graph, kept } = dropUnusedParameters(placed);
  const variables = kept.map((index) => recording.variables[index]!);
  return { graph: checkGraph(graph), variables };
}

function recordModel(
  model: UserModel,
  mode: TraceMode,
  fields: readonly FieldSpec[],
  batchSize: number,
  options: Pick<RecordAllOptions, 'namesSources'> = {},
): Recording {
  return patched(noiseLayerPatches(), () =>
    recordAll((recorder) => {
      const batch = proxyBatch(recorder, fields, batchSize);
      if (!(model instanceof tf.LayersModel)) return runFunctionModel(model, mode, batch);
      declareWeights(model, recorder);
      return runLayersModel(model, mode, batch);
    }, options),
  );
}

function proxyBatch(recorder: Recorder, fields: readonly FieldSpec[], batchSize: number): Record<string, tf.Tensor> {
  return Object.fromEntries(
    fields.map(({ name, shape, dtype }) => [name, recorder.input(name, [batchSize, ...shape], dtype)]),
  );
}

function checkArguments(fields: readonly FieldSpec[], batchSize: number): void {
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new MerakError('trace/model', 'the batch size of a trace is not a positive integer', {
      received: String(batchSize),
    });
  }
  const names = fields.map(({ name }) => name);
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined) throw new MerakError('trace/model', `the field "${repeated}" is given twice`);
}
