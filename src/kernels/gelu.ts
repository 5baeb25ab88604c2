/** MerakGelu: x Phi(x), exactly ('none', by erf) or by the tanh approximation (Hendrycks & Gimpel 2016). */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { stringAttr } from './attributes.js';
import { input, type KernelDefinition } from './definition.js';

const TANH_SCALE = Math.sqrt(2 / Math.PI);
const TANH_CUBIC = 0.044715;

function isTanh(attrs: tf.NamedAttrMap): boolean {
  const approximate = stringAttr(attrs, 'approximate');
  if (approximate === 'tanh' || approximate === 'none') return approximate === 'tanh';
  throw new MerakError('engine/kernel', 'unknown gelu approximation', {
    path: 'approximate',
    expected: "'tanh' or 'none'",
    received: approximate,
  });
}

/** tanh(sqrt(2/pi) (x + 0.044715 x^3)). */
const innerTanh = (x: tf.Tensor): tf.Tensor =>
  tf.tanh(tf.mul(tf.mul(x, tf.add(tf.mul(tf.square(x), TANH_CUBIC), 1)), TANH_SCALE));

/** The normal distribution function. */
const phi = (x: tf.Tensor): tf.Tensor => tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);

export const gelu: KernelDefinition = {
  kernel: 'MerakGelu',
  inputs: ['x'],
  reference(inputs, attrs) {
    const x = input(inputs, 'x');
    return isTanh(attrs) ? tf.mul(tf.mul(x, 0.5), tf.add(innerTanh(x), 1)) : tf.mul(x, phi(x));
  },
  gradient: {
    inputsToSave: ['x'],
    gradFunc(dy, saved, attrs) {
      const [x] = saved as [tf.Tensor];
      return { x: () => tf.engine().runKernel<tf.Tensor>('MerakGeluGrad', { dy: dy as tf.Tensor, x }, attrs) };
    },
  },
};

export const geluGrad: KernelDefinition = {
  kernel: 'MerakGeluGrad',
  inputs: ['dy', 'x'],
  reference(inputs, attrs) {
    const x = input(inputs, 'x');
    return tf.mul(input(inputs, 'dy'), isTanh(attrs) ? tanhSlope(x) : erfSlope(x));
  },
};

function tanhSlope(x: tf.Tensor): tf.Tensor {
  const t = innerTanh(x);
  const innerSlope = tf.mul(tf.add(tf.mul(tf.square(x), 3 * TANH_CUBIC), 1), TANH_SCALE);
  const tail = tf.mul(tf.mul(tf.mul(x, 0.5), tf.sub(1, tf.square(t))), innerSlope);
  return tf.add(tf.mul(tf.add(t, 1), 0.5), tail);
}

function erfSlope(x: tf.Tensor): tf.Tensor {
  const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  return tf.add(phi(x), tf.mul(x, density));
}
