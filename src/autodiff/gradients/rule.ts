/** What a gradient rule is: per kernel, how gradients of the outputs become gradients of the inputs. */
import type * as tf from '@tensorflow/tfjs';
import type { Attrs } from '../../graph/graph.js';

/** The kernel call being differentiated. Tensors may be proxies: rules must never read data. */
export interface Call {
  /** Inputs by tfjs's names ('0', '1', ... where the kernel takes an array). */
  readonly inputs: Readonly<Record<string, tf.Tensor>>;
  readonly outputs: readonly tf.Tensor[];
  readonly attrs: Attrs;
}

/** Gradients of the inputs by name, computed on demand: only those asked for are called. */
export type InputGradients = Readonly<Record<string, () => tf.Tensor>>;

/** `dys[i]` is the gradient of output `i`, of its shape, float32. */
export type GradientRule = (dys: readonly tf.Tensor[], call: Call) => InputGradients;

export type GradientRules = Readonly<Record<string, GradientRule>>;
