/** Reductions and scans: tfjs multiplies by a captured tensor of ones, or transposes wrongly. */
import * as tf from '@tensorflow/tfjs';
import { flag, fromStart, input, number, only, product, reductionAxes } from './access.js';
import { broadcastTo, reshapeTo } from './broadcast.js';
import type { GradientRules } from './rule.js';

export const reductionGradients: GradientRules = {
  Sum: (dys, call) => {
    const x = input(call, 'x');
    return { x: () => spread(only(dys), x, reductionAxes(call.attrs, 'axis', x.rank)) };
  },
  Mean: (dys, call) => {
    const x = input(call, 'x');
    const axes = reductionAxes(call.attrs, 'axis', x.rank);
    const count = product(axes.map((axis) => x.shape[axis] ?? 1));
    return { x: () => spread(tf.mul(only(dys), 1 / count), x, axes) };
  },
  // tfjs transposes a gradient that is already in place when the axis is not the last.
  Cumsum: (dys, call) => {
    const axis = fromStart(number(call.attrs, 'axis', 0), input(call, 'x').rank);
    return { x: () => tf.cumsum(only(dys), axis, flag(call.attrs, 'exclusive'), !flag(call.attrs, 'reverse')) };
  },
  // No gradient in tfjs. dx_j is the sum over the products y_i that contain x_j of dy_i y_i / x_j: not defined at x_j = 0.
  Cumprod: (dys, call) => {
    const x = input(call, 'x');
    const [y] = call.outputs;
    const axis = fromStart(number(call.attrs, 'axis', 0), x.rank);
    const sums = (weighted: tf.Tensor) =>
      tf.cumsum(weighted, axis, flag(call.attrs, 'exclusive'), !flag(call.attrs, 'reverse'));
    return { x: () => tf.div(sums(y === undefined ? only(dys) : tf.mul(only(dys), y)), x) };
  },
};

/** Gives every reduced element the gradient of its sum. */
function spread(dy: tf.Tensor, x: tf.Tensor, axes: readonly number[]): tf.Tensor {
  const kept = x.shape.map((size, dim) => (axes.includes(dim) ? 1 : size));
  return broadcastTo(reshapeTo(dy, kept), x.shape);
}
