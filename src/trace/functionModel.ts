/** Running a loss function or a functional model on a proxy batch, and reading what it returns. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import type { Batch, FunctionalModel, LossFunction, TraceMode } from './model.js';
import type { Recorded } from './record.js';

type Named = readonly (readonly [name: string, tensor: tf.Tensor])[];

/** `train` and `evaluate`: the loss, then the metrics; `predict`: the outputs, a single tensor as `output`. Raises trace/model. */
export function runFunctionModel(model: LossFunction | FunctionalModel, mode: TraceMode, batch: Batch): Recorded {
  return { outputs: mode === 'predict' ? predictions(model, batch) : scalars(model, batch, mode === 'train') };
}

function predictions(model: LossFunction | FunctionalModel, batch: Batch): Named {
  if (typeof model === 'function' || model.predict === undefined) {
    throw new MerakError('trace/model', 'this model has no predict', {
      hint: 'wrap an object { loss(batch, options), predict(batch) } to predict with it',
    });
  }
  const result = synchronous(model.predict(batch), 'predict');
  return result instanceof tf.Tensor ? [['output', result]] : tensors(result, 'predict');
}

function scalars(model: LossFunction | FunctionalModel, batch: Batch, training: boolean): Named {
  const options = { training };
  const result = synchronous(typeof model === 'function' ? model(batch, options) : model.loss(batch, options), 'loss');
  if (result instanceof tf.Tensor) return [['loss', scalar(result, 'loss')]];
  const { loss, ...metrics } = Object.fromEntries(tensors(result, 'loss'));
  if (loss === undefined) {
    throw new MerakError('trace/model', 'the loss function returns an object without `loss`', {
      expected: 'a scalar, or { loss: scalar, ...metrics }',
      received: `{ ${Object.keys(metrics).join(', ')} }`,
    });
  }
  return Object.entries({ loss, ...metrics }).map(([name, tensor]) => [name, scalar(tensor, name)] as const);
}

function synchronous<T>(result: T, what: string): T {
  if (!(result instanceof Promise)) return result;
  // The trace ends here; whatever the promise does later concerns nobody.
  result.catch(() => {});
  throw new MerakError('trace/model', `\`${what}\` is asynchronous`, {
    hint: 'return tensors, not a promise; a traced model cannot wait for values',
  });
}

function tensors(result: unknown, what: string): Named {
  const entries = typeof result === 'object' && result !== null ? Object.entries(result) : [];
  if (entries.length === 0) {
    throw new MerakError('trace/model', `\`${what}\` returns no tensor`, { received: String(result) });
  }
  return entries.map(([name, value]: [string, unknown]) => {
    if (value instanceof tf.Tensor) return [name, value] as const;
    throw new MerakError('trace/model', `\`${what}\` returns "${name}", which is not a tensor`, {
      received: typeof value,
    });
  });
}

/** A metric of one element counts as a scalar, and integers or booleans as their value. */
function scalar(tensor: tf.Tensor, name: string): tf.Tensor {
  if (tensor.size !== 1) {
    throw new MerakError('trace/model', `"${name}" is not a scalar`, {
      expected: 'a scalar: the mean over the batch',
      received: `[${tensor.shape.join(', ')}]`,
      hint: 'end it with .mean()',
    });
  }
  const shaped = tensor.rank === 0 ? tensor : tensor.reshape([]);
  return shaped.dtype === 'float32' ? shaped : shaped.toFloat();
}
