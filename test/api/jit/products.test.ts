/** Matrix products and einsum through merak.jit. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, test } from 'vitest';
import { type DType, shapes, valuesOf, withTensors } from './draw.js';
import { expectParity, forAll } from './parity.js';

beforeAll(() => tf.setBackend('cpu'));

const LOOSE = { relative: 1e-4, absolute: 1e-4 };
const size = (max: number, min = 1) => fc.integer({ min, max });

test.each<DType>(['float32', 'int32'])('matMul of %s, transposed, batches broadcast', (dtype) =>
  forAll(
    fc
      .record({
        batch: shapes(2, { min: 1, max: 3 }),
        m: size(5, 0),
        k: size(5),
        n: size(5, 0),
        transposeA: fc.boolean(),
        transposeB: fc.boolean(),
        which: fc.constantFrom('both', 'a', 'b'),
      })
      .chain(({ batch, m, k, n, transposeA, transposeB, which }) => {
        // tfjs broadcasts batch dims right only when an operand has none.
        const [front, back] = [which === 'b' ? [] : batch, which === 'a' ? [] : batch];
        return fc.tuple(
          valuesOf([...front, ...(transposeA ? [k, m] : [m, k])], dtype),
          valuesOf([...back, ...(transposeB ? [n, k] : [k, n])], dtype),
          fc.constant({ transposeA, transposeB }),
        );
      }),
    ([a, b, { transposeA, transposeB }]) =>
      withTensors([a, b] as const, (x, y) =>
        expectParity((s: tf.Tensor, t: tf.Tensor) => tf.matMul(s, t, transposeA, transposeB), [x, y], LOOSE),
      ),
  ),
);

test('fused matMul with bias and activation', () =>
  forAll(
    fc
      .tuple(size(4), size(4), size(4), fc.constantFrom('linear', 'relu', 'elu', 'sigmoid', 'tanh', 'prelu'))
      .chain(([m, k, n, activation]) =>
        fc.tuple(
          valuesOf([m, k], 'float32'),
          valuesOf([k, n], 'float32'),
          valuesOf([n], 'float32'),
          fc.constant(activation as 'relu'),
        ),
      ),
    ([a, b, c, activation]) =>
      withTensors([a, b, c] as const, (x, y, z) =>
        expectParity(
          (s: tf.Tensor, t: tf.Tensor, bias: tf.Tensor) =>
            tf.fused.matMul({ a: s, b: t, bias, activation, preluActivationWeights: bias }),
          [x, y, z],
          LOOSE,
        ),
      ),
  ));

test('dot, outerProduct', () =>
  forAll(
    fc.tuple(size(5), size(5)).chain(([n, m]) => fc.tuple(valuesOf([n], 'float32'), valuesOf([n, m], 'float32'))),
    ([a, b]) =>
      withTensors([a, b] as const, (x, y) =>
        expectParity(
          (s: tf.Tensor, t: tf.Tensor) => [
            tf.dot(s, t),
            tf.dot(s, s),
            tf.outerProduct(s as tf.Tensor1D, s as tf.Tensor1D),
          ],
          [x, y],
          LOOSE,
        ),
      ),
  ));

/** Terms of distinct letters; the output a subset of them in any order. */
const equations = fc
  .tuple(
    fc.shuffledSubarray(['a', 'b', 'c', 'd'], { minLength: 1 }),
    fc.option(fc.shuffledSubarray(['b', 'c', 'd', 'e'], { minLength: 1 }), { nil: undefined }),
  )
  .chain(([first, second]) => {
    const letters = [...new Set([...first, ...(second ?? [])])];
    // tfjs keeps dims it should sum when nothing is left, and loses its way where one operand's own letters are summed.
    const must = letters.filter((letter) => !first.includes(letter) || !(second ?? []).includes(letter));
    const shared = letters.filter((letter) => !must.includes(letter));
    return fc
      .tuple(fc.subarray(shared), fc.constant(must))
      .chain(([some, all]) => fc.shuffledSubarray([...some, ...all], { minLength: some.length + all.length }))
      .map((output) => ({ terms: second === undefined ? [first] : [first, second], output }));
  })
  // An equation that changes nothing gives the operand itself back.
  .filter(({ terms, output }) => output.length > 0 && terms.map((term) => term.join('')).join() !== output.join(''));

const SIZES: Record<string, number> = { a: 2, b: 3, c: 1, d: 4, e: 2 };

test('einsum', () =>
  forAll(
    equations.chain(({ terms, output }) =>
      fc.tuple(
        fc.constant(`${terms.map((term) => term.join('')).join(',')}->${output.join('')}`),
        fc.tuple(
          ...terms.map((term) =>
            valuesOf(
              term.map((letter) => SIZES[letter]!),
              'float32',
            ),
          ),
        ),
      ),
    ),
    ([equation, operands]) =>
      withTensors(operands, (...given: tf.Tensor[]) =>
        expectParity((...all: tf.Tensor[]) => tf.einsum(equation, ...all), given, LOOSE),
      ),
  ));
