/** MerakLayerNorm: (x - mean) / sqrt(variance + epsilon) * gamma + beta over the last dim. */
import * as tf from '@tensorflow/tfjs';
import { numberAttr } from './attributes.js';
import { input, type KernelDefinition } from './definition.js';

export const layerNorm: KernelDefinition = {
  kernel: 'MerakLayerNorm',
  inputs: ['x', 'gamma', 'beta'],
  reference(inputs, attrs) {
    const x = input(inputs, 'x');
    const mean = tf.mean(x, -1, true);
    const centered = tf.sub(x, mean);
    const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(centered), -1, true), numberAttr(attrs, 'epsilon')));
    const y = tf.add(tf.mul(tf.mul(centered, rstd), input(inputs, 'gamma')), input(inputs, 'beta'));
    return [y, tf.squeeze(mean, [-1]), tf.squeeze(rstd, [-1])];
  },
  gradient: {
    inputsToSave: ['x', 'gamma'],
    outputsToSave: [false, true, true],
    // Mean and rstd are auxiliary outputs: their own gradients are taken to be zero.
    gradFunc(dys, saved) {
      const dy = Array.isArray(dys) ? dys[0]! : dys;
      const [x, gamma, mean, rstd] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      const inputs = { dy, x, gamma, mean, rstd };
      const [dx, dgamma, dbeta] = tf.engine().runKernel<tf.Tensor[]>('MerakLayerNormGrad', inputs, {});
      return { x: () => dx!, gamma: () => dgamma!, beta: () => dbeta! };
    },
  },
};

/** dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = dy gamma (Ba et al. 2016, differentiated). */
export const layerNormGrad: KernelDefinition = {
  kernel: 'MerakLayerNormGrad',
  inputs: ['dy', 'x', 'gamma', 'mean', 'rstd', 'residual?'],
  reference(inputs) {
    const dy = input(inputs, 'dy');
    const rstd = tf.expandDims(input(inputs, 'rstd'), -1);
    const normalised = tf.mul(tf.sub(input(inputs, 'x'), tf.expandDims(input(inputs, 'mean'), -1)), rstd);
    const g = tf.mul(dy, input(inputs, 'gamma'));
    const projection = tf.mul(normalised, tf.mean(tf.mul(g, normalised), -1, true));
    const dx = tf.mul(rstd, tf.sub(tf.sub(g, tf.mean(g, -1, true)), projection));
    const leading = dy.shape.slice(0, -1).map((_, dim) => dim);
    const whole = inputs.residual === undefined ? dx : tf.add(dx, inputs.residual);
    return [whole, tf.sum(tf.mul(dy, normalised), leading), tf.sum(dy, leading)];
  },
};
