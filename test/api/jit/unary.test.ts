/** Element-wise ops of one tensor through merak.jit: int32 and bool, NaN and infinities, empty tensors, rank 0 to 6. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, test } from 'vitest';
import { dtypes, shapes, tensors, withTensors } from './draw.js';
import { expectParity, forAll } from './parity.js';

beforeAll(() => tf.setBackend('cpu'));

type Unary = (x: tf.Tensor) => tf.Tensor;

const UNARY: Record<string, Unary> = {
  abs: tf.abs, acos: tf.acos, acosh: tf.acosh, asin: tf.asin, asinh: tf.asinh, atan: tf.atan, atanh: tf.atanh,
  ceil: tf.ceil, cos: tf.cos, cosh: tf.cosh, elu: tf.elu, erf: tf.erf, exp: tf.exp, expm1: tf.expm1, floor: tf.floor,
  isFinite: tf.isFinite, isInf: tf.isInf, isNaN: tf.isNaN, leakyRelu: (x) => tf.leakyRelu(x, 0.3), log: tf.log,
  log1p: tf.log1p, logSigmoid: tf.logSigmoid, neg: tf.neg, reciprocal: tf.reciprocal, relu: tf.relu, relu6: tf.relu6,
  round: tf.round, rsqrt: tf.rsqrt, selu: tf.selu, sigmoid: tf.sigmoid, sign: tf.sign, sin: tf.sin, sinh: tf.sinh,
  softplus: tf.softplus, sqrt: tf.sqrt, square: tf.square, step: (x) => tf.step(x, 0.2), tan: tf.tan, tanh: tf.tanh,
  onesLike: tf.onesLike, zerosLike: tf.zerosLike, clone: tf.clone, clip: (x) => tf.clipByValue(x, -1, 2),
  toInt: (x) => x.toInt(), toFloat: (x) => x.toFloat(), toBool: (x) => x.toBool(),
}; // biome-ignore format: a table

/** tfjs computes these in float32 even on int32, and rounds large numbers. */
const ROUNDS = new Set(['abs', 'square']);

describe('one tensor', () => {
  test.each(Object.keys(UNARY))('%s', (name) =>
    forAll(
      dtypes.chain((dtype) =>
        tensors(shapes(), fc.constant(dtype), { awkward: dtype !== 'int32' || !ROUNDS.has(name) }),
      ),
      (x) => withTensors([x] as const, (given) => expectParity(UNARY[name]!, [given])),
    ),
  );
});
