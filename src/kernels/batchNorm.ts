/** MerakBatchNorm: normalisation of every channel by the statistics of the batch, with the residual sum and relu that follow it. */
import * as tf from '@tensorflow/tfjs';
import { numberAttr } from './attributes.js';
import { input, type KernelDefinition, type KernelInputs } from './definition.js';

/** All dims but the channels. */
const leadingDims = (x: tf.Tensor) => x.shape.slice(0, -1).map((_, dim) => dim);
const endsInRelu = (attrs: tf.NamedAttrMap) => attrs.activation === 'relu';

/** y = (x - mean) / sqrt(variance + epsilon) gamma + beta [+ residual], [relu of it]; the variance is biased. */
export const batchNorm: KernelDefinition = {
  kernel: 'MerakBatchNorm',
  inputs: ['x', 'gamma', 'beta', 'residual?'],
  reference(inputs, attrs) {
    const x = input(inputs, 'x');
    const mean = tf.mean(x, leadingDims(x));
    const centred = tf.sub(x, mean);
    const variance = tf.mean(tf.square(centred), leadingDims(x));
    const scale = tf.mul(input(inputs, 'gamma'), tf.rsqrt(tf.add(variance, numberAttr(attrs, 'epsilon'))));
    const normalised = tf.add(tf.mul(centred, scale), input(inputs, 'beta'));
    const sum = inputs.residual === undefined ? normalised : tf.add(normalised, inputs.residual);
    return [endsInRelu(attrs) ? tf.relu(sum) : sum, mean, variance];
  },
  gradient: {
    inputsToSave: ['x', 'gamma'],
    outputsToSave: [true, true, true],
    // Mean and variance are auxiliary outputs: their own gradients are taken to be zero.
    gradFunc(dys, saved, attrs) {
      const dy = Array.isArray(dys) ? dys[0]! : dys;
      const [x, gamma, y, mean, variance] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      const inputs = { dy, x, gamma, mean, variance, ...(endsInRelu(attrs) ? { y } : {}) };
      const gradients = tf.engine().runKernel<tf.Tensor[]>('MerakBatchNormGrad', inputs, attrs);
      const [dx, dgamma, dbeta, dresidual] = gradients;
      const own = { x: () => dx!, gamma: () => dgamma!, beta: () => dbeta! };
      return dresidual === undefined ? own : { ...own, residual: () => dresidual };
    },
  },
};

/** With d the gradient before the relu: dx = gamma rstd (d - mean(d) - xhat mean(d xhat)) (Ioffe and Szegedy 2015, section 3). */
export const batchNormGrad: KernelDefinition = {
  kernel: 'MerakBatchNormGrad',
  inputs: ['dy', 'x', 'gamma', 'mean', 'variance', 'y?'],
  reference(inputs, attrs) {
    const x = input(inputs, 'x');
    const dims = leadingDims(x);
    const d = gradientBeforeRelu(inputs);
    const rstd = tf.rsqrt(tf.add(input(inputs, 'variance'), numberAttr(attrs, 'epsilon')));
    const normalised = tf.mul(tf.sub(x, input(inputs, 'mean')), rstd);
    const projection = tf.mul(normalised, tf.mean(tf.mul(d, normalised), dims));
    const dx = tf.mul(tf.mul(input(inputs, 'gamma'), rstd), tf.sub(tf.sub(d, tf.mean(d, dims)), projection));
    const own = [dx, tf.sum(tf.mul(d, normalised), dims), tf.sum(d, dims)];
    return attrs.residual === true ? [...own, d] : own;
  },
};

function gradientBeforeRelu(inputs: KernelInputs): tf.Tensor {
  const dy = input(inputs, 'dy');
  return inputs.y === undefined ? tf.clone(dy) : tf.mul(dy, tf.step(inputs.y));
}
