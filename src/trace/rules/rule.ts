/** What a shape rule is: the shapes and dtypes of a kernel's outputs from those of its inputs and its attributes. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import type { Attrs, DType } from '../../graph/graph.js';

export interface TensorSpec {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** By tfjs name; '0', '1', ... for kernels that take an array. */
export type RuleInputs = Readonly<Record<string, TensorSpec>>;

/** An array exactly where tfjs's own kernel returns one (SplitV, Unpack, ...): the engine hands it on as an array. */
export type ShapeRule = (inputs: RuleInputs, attrs: Attrs) => TensorSpec | readonly TensorSpec[];

export type Rules = Readonly<Record<string, ShapeRule>>;

/** The named input. Raises trace/model when the kernel was called without it. */
export function need(inputs: RuleInputs, name: string): TensorSpec {
  const found = inputs[name];
  if (found === undefined) throw new MerakError('trace/model', `the kernel was called without its input "${name}"`);
  return found;
}

/** tfjs wants mutable shapes. */
export function shapeOf(spec: TensorSpec): number[] {
  return [...spec.shape];
}

export function spec(shape: readonly number[], dtype: DType): TensorSpec {
  return { shape, dtype };
}

/** Inputs '0', '1', ... in order. */
export function listed(inputs: RuleInputs): TensorSpec[] {
  return Object.keys(inputs)
    .map(Number)
    .sort((a, b) => a - b)
    .map((index) => need(inputs, String(index)));
}

/** tfjs's dtype promotion, on the dtypes Merak knows. */
export function upcast(a: DType, b: DType): DType {
  return toDType(tf.upcastType(a, b));
}

/** Raises trace/model on complex64 and string, which Merak does not train. */
export function toDType(dtype: string): DType {
  if (dtype === 'float32' || dtype === 'int32' || dtype === 'bool') return dtype;
  throw new MerakError('trace/model', `tensors of dtype ${dtype} cannot be traced`, {
    expected: 'float32, int32 or bool',
    received: dtype,
  });
}

/** The shape two shapes broadcast to. Raises tfjs's error when they do not. */
export function broadcast(a: readonly number[], b: readonly number[]): number[] {
  return tf.backend_util.assertAndGetBroadcastShape([...a], [...b]);
}

/** A rule with the first input's shape and dtype (or the given dtype). */
export function like(name: string, dtype?: DType): ShapeRule {
  return (inputs) => {
    const x = need(inputs, name);
    return spec(x.shape, dtype ?? x.dtype);
  };
}

/** The same rule under several kernel names. */
export function each(kernels: readonly string[], rule: ShapeRule): Rules {
  return Object.fromEntries(kernels.map((kernel) => [kernel, rule]));
}
