/** Element-wise ops through merak.jit: broadcasting, int32 and bool, overflow, NaN, empty tensors, rank 0 to 6. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, test } from 'vitest';
import { broadcastPair, type DType, dtypes, shapes, tensors, valuesOf, withTensors } from './draw.js';
import { expectParity, forAll } from './parity.js';

beforeAll(() => tf.setBackend('cpu'));

type Unary = (x: tf.Tensor) => tf.Tensor;
type Binary = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;

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

const BINARY: Record<string, Binary> = {
  add: tf.add, sub: tf.sub, mul: tf.mul, div: tf.div, divNoNan: tf.divNoNan, floorDiv: tf.floorDiv, mod: tf.mod,
  maximum: tf.maximum, minimum: tf.minimum, squaredDifference: tf.squaredDifference, pow: tf.pow,
  equal: tf.equal, notEqual: tf.notEqual, greater: tf.greater, greaterEqual: tf.greaterEqual, less: tf.less,
  lessEqual: tf.lessEqual, atan2: tf.atan2,
}; // biome-ignore format: a table

const LOGICAL: Record<string, Binary> = { and: tf.logicalAnd, or: tf.logicalOr, xor: tf.logicalXor };

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

const pairs = (awkward: boolean) =>
  fc.tuple(broadcastPair(), dtypes, dtypes, fc.boolean()).chain(([[a, b], one, other, swap]) => {
    // tfjs's cast of int32 to float32 keeps the integers: large ones would not be rounded as float32 is.
    const options = (dtype: DType) => ({ awkward: awkward && (dtype !== 'int32' || one === other) });
    const drawn = fc.tuple(valuesOf(a, one, options(one)), valuesOf(b, other, options(other)));
    return drawn.map(([x, y]) => (swap ? ([y, x] as const) : ([x, y] as const)));
  });

describe('two tensors', () => {
  test.each(Object.keys(BINARY))('%s', (name) =>
    forAll(pairs(true), (drawn) => withTensors(drawn, (a, b) => expectParity(BINARY[name]!, [a, b]))),
  );

  test.each(Object.keys(LOGICAL))('logical %s', (name) =>
    forAll(
      broadcastPair().chain(([a, b]) => fc.tuple(valuesOf(a, 'bool'), valuesOf(b, 'bool'))),
      (drawn) => withTensors(drawn, (a, b) => expectParity(LOGICAL[name]!, [a, b])),
    ),
  );

  test('bitwiseAnd', () =>
    forAll(
      broadcastPair().chain(([a]) =>
        fc.tuple(valuesOf(a, 'int32', { awkward: true }), valuesOf(a, 'int32', { awkward: true })),
      ),
      (drawn) => withTensors(drawn, (a, b) => expectParity((x, y) => tf.bitwiseAnd(x, y), [a, b])),
    ));

  test('prelu', () =>
    forAll(
      broadcastPair().chain(([a, b]) => fc.tuple(valuesOf(a, 'float32'), valuesOf(b, 'float32'))),
      (drawn) => withTensors(drawn, (x, alpha) => expectParity((a, b) => tf.prelu(a, b), [x, alpha])),
    ));
});

test('where', () =>
  forAll(
    // tfjs does not broadcast [1] to [0].
    fc
      .tuple(broadcastPair(5, 1), dtypes)
      .chain(([[a, b], dtype]) =>
        fc.tuple(valuesOf(a, 'bool'), valuesOf(a, dtype, { awkward: true }), valuesOf(b, dtype, { awkward: true })),
      ),
    (drawn) => withTensors(drawn, (c, t, e) => expectParity((x, y, z) => tf.where(x, y, z), [c, t, e])),
  ));

test('addN', () =>
  forAll(
    shapes().chain((shape) =>
      fc.tuple(valuesOf(shape, 'float32'), valuesOf(shape, 'float32'), valuesOf(shape, 'float32')),
    ),
    (drawn) => withTensors(drawn, (a, b, c) => expectParity((...all: tf.Tensor[]) => tf.addN(all), [a, b, c])),
  ));
