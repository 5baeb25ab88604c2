/** MerakQuantise and MerakQuantisedMatMul: symmetric int8, as int32 tensors within [-127, 127] on tfjs backends. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { numberAttr, stringAttr } from './attributes.js';
import { input, type KernelDefinition } from './definition.js';
import { gelu } from './gelu.js';

/** The largest magnitude of an int8 value here: -128 has no opposite. */
export const INT8_LIMIT = 127;

/** Products of int8 that a float32 sum holds exactly: 1024 * 127^2 is below 2^24. */
const EXACT_TERMS = 1024;

/** clip(round(x / scale), -127, 127), ties to even. */
function toInt8(x: tf.Tensor, scale: number): tf.Tensor {
  if (!(scale > 0 && Number.isFinite(scale))) {
    throw new MerakError('engine/kernel', 'the scale of a quantised value is not a positive number', {
      received: String(scale),
    });
  }
  const scaled = tf.mul(x, tf.scalar(Math.fround(1 / scale)));
  return tf.cast(tf.round(tf.clipByValue(scaled, -INT8_LIMIT, INT8_LIMIT)), 'int32');
}

/** a [M,K] by b [K,N], both int32: exact on every backend, whatever it sums in. */
function integerProduct(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor {
  const inner = a.shape[1];
  let sum: tf.Tensor | undefined;
  for (let begin = 0; begin < inner; begin += EXACT_TERMS) {
    const size = Math.min(EXACT_TERMS, inner - begin);
    const left = tf.cast(tf.slice(a, [0, begin], [a.shape[0], size]), 'float32');
    const right = tf.cast(tf.slice(b, [begin, 0], [size, b.shape[1]]), 'float32');
    const part = tf.cast(tf.matMul(left, right), 'int32');
    sum = sum === undefined ? part : tf.add(sum, part);
  }
  if (sum === undefined) throw new MerakError('engine/kernel', 'the inner dim of a quantised product is empty');
  return sum;
}

function activate(x: tf.Tensor, activation: string): tf.Tensor {
  if (activation === 'linear') return x;
  if (activation === 'relu') return tf.relu(x);
  if (activation === 'gelu_tanh') return gelu.reference({ x }, { approximate: 'tanh' }) as tf.Tensor;
  if (activation === 'gelu_none') return gelu.reference({ x }, { approximate: 'none' }) as tf.Tensor;
  throw new MerakError('engine/kernel', 'unknown activation of a quantised product', { received: activation });
}

export const quantise: KernelDefinition = {
  kernel: 'MerakQuantise',
  inputs: ['x'],
  reference: (inputs, attrs) => toInt8(input(inputs, 'x'), numberAttr(attrs, 'scale')),
};

export const quantisedMatMul: KernelDefinition = {
  kernel: 'MerakQuantisedMatMul',
  inputs: ['a', 'b', 'scales', 'bias?'],
  reference(inputs, attrs) {
    const a = input(inputs, 'a');
    const b = input(inputs, 'b') as tf.Tensor2D;
    const [inner = 0, columns = 0] = b.shape;
    const sums = integerProduct(tf.reshape(a, [-1, inner]) as tf.Tensor2D, b);
    const scaled = tf.mul(tf.cast(sums, 'float32'), input(inputs, 'scales'));
    const shifted = inputs.bias === undefined ? scaled : tf.add(scaled, inputs.bias);
    const y = activate(
      tf.reshape(shifted, [...a.shape.slice(0, -1), columns]),
      stringAttr(attrs, 'activation', 'linear'),
    );
    const outputScale = numberAttr(attrs, 'outputScale', 0);
    return outputScale === 0 ? y : toInt8(y, outputScale);
  },
};
