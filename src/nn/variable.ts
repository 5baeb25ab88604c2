/** nn.variable: a trainable tf.Variable whose initial value is recorded, so that `merak.lazy` need not compute it. */
import * as tf from '@tensorflow/tfjs';
import type { Initializer } from '../graph/graph.js';
import { initialize } from '../graph/initialize.js';

/** Yields the tensor a new variable starts from. */
export type InitialValue = (
  initializer: Initializer,
  name: string,
  shape: readonly number[],
  seed: number,
) => tf.Tensor;

const computed: InitialValue = (initializer, name, shape, seed) =>
  tf.tensor(initialize(initializer, name, shape, seed), [...shape], 'float32');

let initialValue: InitialValue = computed;

/** Replaces how new variables get their initial value (`merak.lazy` records it); null computes it. Returns the previous. */
export function setInitialValue(replacement: InitialValue | null): InitialValue {
  const previous = initialValue;
  initialValue = replacement ?? computed;
  return previous;
}

export interface VariableOptions {
  /** Keys the random initialisers together with the name. Default 0. */
  readonly seed?: number;
  /** Default true. */
  readonly trainable?: boolean;
}

/**
 * A float32 variable. Its elements are a pure function of (seed, name, index). When a variable called `name` exists
 * already, tfjs's name of the new one gets a suffix; its values are still those of `name`.
 *
 * @example
 * const w = merak.nn.variable('head/w', [8, 2], { kind: 'normal', mean: 0, stddev: 0.02 });
 */
export function variable(
  name: string,
  shape: readonly number[],
  initializer: Initializer,
  options: VariableOptions = {},
): tf.Variable {
  const { seed = 0, trainable = true } = options;
  const value = initialValue(initializer, name, shape, seed);
  const created = tf.variable(value, trainable, unusedName(name));
  value.dispose();
  requestedNames.set(created, name);
  return created;
}

const requestedNames = new WeakMap<tf.Variable, string>();

/** The name a variable was asked for by, before tfjs's registry forced a suffix on it: what it is called in plans and files. */
export function requestedName(variable: tf.Variable): string {
  return requestedNames.get(variable) ?? variable.name;
}

function unusedName(name: string): string {
  const taken = tf.engine().registeredVariables;
  if (taken[name] === undefined) return name;
  let suffix = 1;
  while (taken[`${name}_${suffix}`] !== undefined) suffix++;
  return `${name}_${suffix}`;
}
