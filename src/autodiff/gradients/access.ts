/** Typed access to a call's inputs and attributes. */
import type * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import type { Attrs } from '../../graph/graph.js';
import type { Call } from './rule.js';

/** Input `name` of `call`; a missing one is an error. */
export function input(call: Call, name: string): tf.Tensor {
  const tensor = call.inputs[name];
  if (tensor === undefined) throw new MerakError('autodiff/no-gradient', `the kernel has no input '${name}'`);
  return tensor;
}

/** The only gradient of a kernel with one output. */
export function only(dys: readonly tf.Tensor[]): tf.Tensor {
  const [dy] = dys;
  if (dy === undefined) throw new MerakError('autodiff/no-gradient', 'the kernel has no output');
  return dy;
}

/** Attribute `name` as a list of numbers; a single number is a list of one, an absent attribute an empty list. */
export function numbers(attrs: Attrs, name: string): number[] {
  const value = attrs[name];
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value.map(Number) : [Number(value)];
}

export function number(attrs: Attrs, name: string, fallback: number): number {
  return numbers(attrs, name)[0] ?? fallback;
}

export function flag(attrs: Attrs, name: string): boolean {
  return attrs[name] === true;
}

/** `axis` counted from 0 for a tensor of `rank` dims. */
export function fromStart(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** Reduction axes of `attrs[name]`, ascending and from 0; all axes when absent or empty of meaning (null). */
export function reductionAxes(attrs: Attrs, name: string, rank: number): number[] {
  if (attrs[name] === undefined || attrs[name] === null) return range(rank);
  return numbers(attrs, name)
    .map((axis) => fromStart(axis, rank))
    .sort((a, b) => a - b);
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

export function product(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total * size, 1);
}
