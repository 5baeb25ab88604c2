/** Turns what users pass to fit, evaluate and predict into named host arrays. */
import * as tf from '@tensorflow/tfjs';
import type { ArrayField } from '../data/arrays.js';
import type { HostBatch } from '../data/source.js';
import { hostFields } from '../data/tensors.js';
import { MerakError } from '../errors.js';
import type { UserModel } from '../trace/model.js';

/** Tensors as tfjs users pass them: one, several in the model's order, or by name. */
export type TensorInput = tf.Tensor | readonly tf.Tensor[] | Readonly<Record<string, tf.Tensor>>;

/** The field name of a target of a tf.layers model (src/trace names them so). */
export function targetName(outputName: string): string {
  return `target/${outputName}`;
}

/** All fields of a call, by name. Functional models take everything in `x`, by name. */
export function namedTensors(model: UserModel, x: TensorInput, y?: TensorInput): Map<string, tf.Tensor> {
  if (!(model instanceof tf.LayersModel)) {
    if (y !== undefined || x instanceof tf.Tensor || Array.isArray(x)) {
      throw new MerakError('config/invalid', 'a functional model takes its batch as one record of named tensors', {
        path: 'fit',
        expected: '{ fieldName: tensor, ... }',
        hint: 'e.g. parallel.fit({ tokens, targets }, { batchSize: 16 })',
      });
    }
    return new Map(Object.entries(x as Record<string, tf.Tensor>));
  }
  const named = new Map(byName('input', model.inputNames, x));
  if (y !== undefined) {
    for (const [name, tensor] of byName('target', model.outputNames, y)) named.set(targetName(name), tensor);
  }
  return named;
}

function byName(what: string, names: readonly string[], given: TensorInput): [string, tf.Tensor][] {
  if (given instanceof tf.Tensor || Array.isArray(given)) {
    const tensors: readonly tf.Tensor[] = given instanceof tf.Tensor ? [given] : given;
    if (tensors.length !== names.length) {
      throw new MerakError('config/invalid', `wrong number of ${what} tensors`, {
        expected: `${names.length} (${names.join(', ')})`,
        received: `${tensors.length}`,
      });
    }
    return names.map((name, i) => [name, tensors[i]!]);
  }
  const record = given as Readonly<Record<string, tf.Tensor>>;
  return names.map((name) => {
    const tensor = record[name];
    if (tensor === undefined) {
      throw new MerakError('config/invalid', `missing ${what} '${name}'`, { received: Object.keys(record).join(', ') });
    }
    return [name, tensor];
  });
}

/** A batch of tensors as host arrays. */
export async function hostBatch(
  named: ReadonlyMap<string, tf.Tensor>,
): Promise<{ batch: HostBatch; fields: ArrayField['spec'][] }> {
  const { numSamples, fields } = await hostFields(named);
  return {
    batch: { size: numSamples, fields: new Map(fields.map(({ spec, data }) => [spec.name, data])) },
    fields: fields.map((field) => field.spec),
  };
}
