/** MerakColumnSum: the sum over all dims but the last, as the gradient of a bias is. */
import * as tf from '@tensorflow/tfjs';
import { input, type KernelDefinition } from './definition.js';

export const columnSum: KernelDefinition = {
  kernel: 'MerakColumnSum',
  inputs: ['x'],
  reference(inputs) {
    const x = input(inputs, 'x');
    return tf.sum(tf.reshape(x, [-1, x.shape.at(-1) ?? 1]), 0);
  },
};
