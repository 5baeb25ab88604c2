/** Element-wise ops of several tensors through merak.jit: broadcasting, mixed dtypes, integer division, overflow, NaN. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, test } from 'vitest';
import { broadcastPair, type DType, dtypes, shapes, valuesOf, withTensors } from './draw.js';
import { expectParity, forAll } from './parity.js';

beforeAll(() => tf.setBackend('cpu'));

type Binary = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;

const BINARY: Record<string, Binary> = {
  add: tf.add, sub: tf.sub, mul: tf.mul, div: tf.div, divNoNan: tf.divNoNan, floorDiv: tf.floorDiv, mod: tf.mod,
  maximum: tf.maximum, minimum: tf.minimum, squaredDifference: tf.squaredDifference, pow: tf.pow,
  equal: tf.equal, notEqual: tf.notEqual, greater: tf.greater, greaterEqual: tf.greaterEqual, less: tf.less,
  lessEqual: tf.lessEqual, atan2: tf.atan2,
}; // biome-ignore format: a table

const LOGICAL: Record<string, Binary> = { and: tf.logicalAnd, or: tf.logicalOr, xor: tf.logicalXor };

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
