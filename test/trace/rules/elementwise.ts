/** Elementwise ops of one and two tensors. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { it } from 'vitest';
import { check, checkGradient, dims, property, random } from './harness.js';

// biome-ignore format: a table
const UNARY = [
  tf.abs, tf.acos, tf.acosh, tf.asin, tf.asinh, tf.atan, tf.atanh, tf.ceil, tf.cos, tf.cosh, tf.elu, tf.erf, tf.exp,
  tf.expm1, tf.floor, tf.leakyRelu, tf.log, tf.log1p, tf.logSigmoid, tf.neg, tf.onesLike, tf.reciprocal, tf.relu,
  tf.relu6, tf.round, tf.rsqrt, tf.selu, tf.sigmoid, tf.sign, tf.sin, tf.sinh, tf.softplus, tf.sqrt, tf.square,
  tf.step, tf.tan, tf.tanh, tf.zerosLike, tf.clone, tf.isNaN, tf.isInf, tf.isFinite, tf.softmax, tf.logSoftmax,
];

export function elementwiseRules(): void {
  it('elementwise', () => {
    property(dims(1, 3), (shape) => {
      for (const op of UNARY) check(() => (op as (x: tf.Tensor) => tf.Tensor)(random(shape)));
      checkGradient((x) => tf.clipByValue(x, 0.2, 0.5), random(shape));
      checkGradient((x) => tf.elu(x).add(tf.selu(x)).add(tf.leakyRelu(x)), random(shape));
      check(() => tf.addN([random(shape), random(shape)]));
      check(() => tf.where(random(shape).greater(0.5), random(shape), random(shape)));
      check(() => tf.cast(random(shape), 'int32').toBool().toFloat());
      check(() => tf.logicalNot(random(shape).greater(0.5)));
    });
  });

  it('binary ops broadcast', () => {
    const ops = [
      tf.add,
      tf.sub,
      tf.mul,
      tf.div,
      tf.pow,
      tf.maximum,
      tf.minimum,
      tf.squaredDifference,
      tf.mod,
      tf.atan2,
    ];
    const others = [tf.equal, tf.notEqual, tf.less, tf.lessEqual, tf.greater, tf.greaterEqual, tf.floorDiv];
    property(
      fc.tuple(dims(1, 3), fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }), fc.nat(3)),
      ([shape, ones, cut]) => {
        const small = shape.map((size, dim) => (ones[dim] ? 1 : size)).slice(Math.min(cut, shape.length));
        for (const op of ops) {
          check(() => op(random(shape), random(small)));
          // tfjs's gradients of these do not sum over broadcast dims.
          if (![tf.maximum, tf.minimum, tf.mod, tf.squaredDifference].includes(op) || small.join() === shape.join()) {
            checkGradient((a, b) => op(a!, b!), random(shape), random(small));
          }
        }
        for (const op of others) check(() => op(random(shape), random(small)));
        checkGradient((x, alpha) => tf.prelu(x!, alpha!), random(shape), random(shape.slice(1)));
        const bools = () => random(shape).greater(0.5);
        check(() => [tf.logicalAnd(bools(), bools()), tf.logicalOr(bools(), bools()), tf.logicalXor(bools(), bools())]);
        check(() => tf.bitwiseAnd(tf.ones(shape, 'int32'), tf.ones(shape, 'int32')));
      },
    );
  });
}
