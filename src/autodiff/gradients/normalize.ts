/** Batch normalisation: tfjs tiles the statistics and never uses that sums over the batch factor out. */
import * as tf from '@tensorflow/tfjs';
import { input, number, only } from './access.js';
import { sumTo } from './broadcast.js';
import type { GradientRules } from './rule.js';

export const normalizeGradients: GradientRules = {
  /** y = (x - mean) rstd scale + offset with rstd = 1 / sqrt(variance + epsilon); the statistics are inputs of their own. */
  FusedBatchNorm: (dys, call) => {
    const dy = only(dys);
    const [x, mean, variance] = [input(call, 'x'), input(call, 'mean'), input(call, 'variance')];
    const { scale, offset } = call.inputs;
    const epsilon = number(call.attrs, 'varianceEpsilon', 0.001);
    const rstd = () => tf.rsqrt(tf.add(variance, epsilon));
    const gain = () => (scale === undefined ? rstd() : tf.mul(rstd(), scale));
    const centred = () => tf.mul(dy, tf.sub(x, mean));
    return {
      x: () => tf.mul(dy, gain()),
      mean: () => sumTo(tf.neg(tf.mul(sumTo(dy, mean.shape), gain())), mean.shape),
      variance: () => {
        const cubed = tf.mul(tf.square(rstd()), gain());
        return sumTo(tf.mul(tf.mul(sumTo(centred(), variance.shape), cubed), -0.5), variance.shape);
      },
      scale: () => sumTo(tf.mul(sumTo(centred(), variance.shape), rstd()), scale?.shape ?? mean.shape),
      offset: () => sumTo(dy, offset?.shape ?? mean.shape),
    };
  },
};
