/** What a Merak kernel is: a name, a reference composite for real tfjs backends, and a gradient. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';

/** Inputs of a kernel by tfjs name. An absent optional input has no key. */
export type KernelInputs = Readonly<Record<string, tf.Tensor>>;

export interface KernelDefinition {
  readonly kernel: string;
  /** Input names; a trailing '?' marks an optional one. */
  readonly inputs: readonly string[];
  /** Composes tfjs ops; shapes and outputs as in docs/kernels.md. Runs inside a tidy, off the tape. */
  readonly reference: (inputs: KernelInputs, attrs: tf.NamedAttrMap) => tf.Tensor | tf.Tensor[];
  readonly gradient?: Omit<tf.GradConfig, 'kernelName'>;
}

/** tfjs's kernel function for a definition. Raises engine/kernel on a missing input. */
export function kernelFunction(definition: KernelDefinition): tf.KernelFunc {
  return ({ inputs, attrs }) => tf.tidy(() => definition.reference(checkInputs(definition, inputs), attrs ?? {}));
}

function checkInputs(definition: KernelDefinition, inputs: tf.NamedTensorInfoMap): KernelInputs {
  const checked: Record<string, tf.Tensor> = {};
  for (const declared of definition.inputs) {
    const optional = declared.endsWith('?');
    const name = optional ? declared.slice(0, -1) : declared;
    const input = inputs[name];
    if (input instanceof tf.Tensor) checked[name] = input;
    else if (!optional) throw new MerakError('engine/kernel', `${definition.kernel} needs the input "${name}"`);
  }
  return checked;
}

/** A required input of a kernel. */
export function input(inputs: KernelInputs, name: string): tf.Tensor {
  const tensor = inputs[name];
  if (tensor === undefined) throw new MerakError('engine/kernel', `missing kernel input "${name}"`);
  return tensor;
}

/**
 * `inputsToSave` of a kernel with optional inputs. tfjs looks each name up and saves what it finds, and would fail on
 * an absent one; here absent ones are left out of the list of saved tensors.
 */
export class OptionalNames extends Array<string> {
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }

  override map<U>(lookUp: (name: string, index: number, names: string[]) => U): U[] {
    return Array.from(this, (name, index) => lookUp(name, index, this)).filter((found) => found !== undefined);
  }
}

/** The zero gradient tfjs wants for an int32 input that happens to depend on a differentiated tensor. */
export function noGradient(x: tf.Tensor): () => tf.Tensor {
  return () => tf.zeros(x.shape, 'float32');
}
