/** MerakProduct: a matrix product with what follows it; programs only, so without a gradient of its own. */
import * as tf from '@tensorflow/tfjs';
import { numbersAttr } from './attributes.js';
import { input, type KernelDefinition } from './definition.js';
import { gelu, geluGrad } from './gelu.js';

export const product: KernelDefinition = {
  kernel: 'MerakProduct',
  inputs: ['a', 'b', 'bias?', 'residual?', 'point?'],
  reference(inputs, attrs) {
    const { bias, residual, point } = inputs;
    const [a, b] = ['a', 'b'].map((name) => {
      const operand = input(inputs, name);
      return tf.reshape(operand, [-1, operand.shape.at(-1) ?? 1]) as tf.Tensor2D;
    }) as [tf.Tensor2D, tf.Tensor2D];
    const plain = tf.matMul(a, b, attrs.transposeA === true, attrs.transposeB === true);
    const biased = bias === undefined ? plain : tf.add(plain, bias);
    const shaped = tf.reshape(biased, numbersAttr(attrs, 'outputShape'));
    const sum = residual === undefined ? shaped : tf.add(shaped, tf.reshape(residual, shaped.shape));
    if (typeof attrs.gelu !== 'string') return sum;
    const approximate = { approximate: attrs.gelu };
    if (point === undefined) {
      const activated = gelu.reference({ x: sum }, approximate) as tf.Tensor;
      return [sum, tf.reshape(activated, numbersAttr(attrs, 'activatedShape'))];
    }
    return geluGrad.reference({ dy: sum, x: tf.reshape(point, sum.shape) }, approximate);
  },
};
