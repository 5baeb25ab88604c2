/** Element-wise kernels whose tfjs gradient forgets broadcasting, is wrong, or is missing. */
import * as tf from '@tensorflow/tfjs';
import { input, only } from './access.js';
import { sumTo, zeros } from './broadcast.js';
import type { GradientRules } from './rule.js';

export const elementwiseGradients: GradientRules = {
  // tfjs does not reduce over broadcast dims.
  SquaredDifference: (dys, call) => {
    const [a, b] = [input(call, 'a'), input(call, 'b')];
    const scaled = () => tf.mul(only(dys), tf.mul(tf.sub(a, b), 2));
    return { a: () => sumTo(scaled(), a.shape), b: () => sumTo(tf.neg(scaled()), b.shape) };
  },
  // tfjs does not reduce over broadcast dims. On ties the whole gradient goes to `a`, as in tfjs.
  Maximum: (dys, call) => {
    const [a, b] = [input(call, 'a'), input(call, 'b')];
    const where = (mask: tf.Tensor) => tf.mul(only(dys), tf.cast(mask, 'float32'));
    return {
      a: () => sumTo(where(tf.greaterEqual(a, b)), a.shape),
      b: () => sumTo(where(tf.less(a, b)), b.shape),
    };
  },
  Minimum: (dys, call) => {
    const [a, b] = [input(call, 'a'), input(call, 'b')];
    const where = (mask: tf.Tensor) => tf.mul(only(dys), tf.cast(mask, 'float32'));
    return {
      a: () => sumTo(where(tf.lessEqual(a, b)), a.shape),
      b: () => sumTo(where(tf.greater(a, b)), b.shape),
    };
  },
  // tfjs gives the gradient of a / b; the function is piecewise constant.
  FloorDiv: (_, call) => ({ a: () => zeros(input(call, 'a')), b: () => zeros(input(call, 'b')) }),
};
