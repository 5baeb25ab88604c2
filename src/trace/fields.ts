/** The batch fields of a model: their names, shapes and dtypes without the batch dim. */
import type * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { compiledModel, isCompiled } from './compiled.js';
import type { Batch, FieldSpec } from './model.js';
import { toDType } from './rules/rule.js';

/** The field of a tf.layers model's target. */
export function targetField(outputName: string): string {
  return `target/${outputName}`;
}

/** From a sample batch (any batch size). Raises trace/model on a scalar, or a dtype Merak does not know. */
export function fieldsOfBatch(batch: Batch): FieldSpec[] {
  return Object.entries(batch).map(([name, tensor]) => {
    if (tensor.rank > 0) return { name, shape: tensor.shape.slice(1), dtype: toDType(tensor.dtype) };
    throw new MerakError('trace/model', `the batch field "${name}" is a scalar`, {
      path: name,
      expected: 'a tensor whose dim 0 is the batch',
    });
  });
}

/**
 * From a tf.layers model: its inputs, then (when compiled) its targets, shaped like the outputs, or like the labels
 * (last dim 1) for sparse categorical cross-entropy. Raises trace/model when the model leaves a size open.
 */
export function fieldsOfModel(given: tf.LayersModel): FieldSpec[] {
  const model = compiledModel(given);
  const inputs = model.inputs.map(({ shape, dtype }, index) => ({
    name: model.inputNames[index]!,
    shape: known(shape.slice(1), model.inputNames[index]!),
    dtype: toDType(dtype),
  }));
  if (!isCompiled(model)) return inputs;
  const targets = model.outputs.map(({ shape, dtype }, index): FieldSpec => {
    const name = targetField(model.outputNames[index]!);
    const output = known(shape.slice(1), name);
    // Bundlers suffix the names of functions: sparseCategoricalCrossentropy$1.
    return model.lossFunctions[index]?.name.startsWith('sparseCategoricalCrossentropy')
      ? { name, shape: [...output.slice(0, -1), 1], dtype: 'float32' }
      : { name, shape: output, dtype: toDType(dtype) };
  });
  return [...inputs, ...targets];
}

function known(shape: readonly (number | null)[], name: string): number[] {
  return shape.map((size) => {
    if (size !== null) return size;
    throw new MerakError('trace/model', `the model leaves a size of "${name}" open`, {
      path: name,
      expected: 'all sizes but the batch',
      received: `[${shape.map((dim) => dim ?? 'null').join(', ')}]`,
      hint: 'give the layer a full inputShape, or derive the fields from a sample batch',
    });
  });
}
