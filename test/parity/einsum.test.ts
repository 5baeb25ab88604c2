/** Einsum against tfjs (which keeps dims it should sum in 'ab,bc->', so that one is left out). */
import { beforeAll, expect, test } from 'vitest';
import { input } from './cases.js';
import { expectParity, runNative, useReferenceBackend } from './compare.js';

beforeAll(useReferenceBackend);

const SIZES: Record<string, number> = { a: 3, b: 2, c: 5, d: 4, e: 6, f: 3 };

test.each([
  'ab,bc->ac', // matrix product
  'ab,cb->ac', // by the transpose
  'ba,bc->ca', // transposed result
  'abc,cd->abd', // dense layer on a sequence
  'abc,cde->abde', // projection to heads
  'abde,dec->abc', // and back
  'abcd,aecd->acbe', // attention scores by head
  'acbe,aecd->abcd', // weighted values
  'eacd,abcd->acbe', // operands in the other order
  'ab,ab->ab', // element-wise
  'ab,ab->a', // row dots
  'ab,ab->', // full contraction
  'a,b->ab', // outer product
  'abc->a', // one operand
  'abc->cba', // a permutation
  'ab,b->a', // matrix by vector
])('Einsum %s', (equation) => {
  const terms = (equation.split('->')[0] as string).split(',');
  const inputs = terms.map((term, index) =>
    input(
      `${index}`,
      [...term].map((label) => SIZES[label] as number),
      'float32',
      index + 1,
    ),
  );
  expectParity('Einsum', inputs, { equation }, { asList: true, tolerance: { relative: 1e-5, absolute: 1e-4 } });
});

test('labels summed within one operand, repeated labels, three operands', () => {
  const a = input('0', [3, 4], 'float32', 1);
  const b = input('1', [4, 5], 'float32', 2);
  const c = input('2', [3, 3], 'float32', 3);
  const run = (equation: string, inputs: (typeof a)[], shape: number[]) =>
    runNative('Einsum', inputs, { equation }, [{ shape, dtype: 'float32' }])[0] as Float32Array;
  const at = ({ data, shape }: typeof a, i: number, j: number) => data[i * (shape[1] as number) + j] as number;
  let [total, trace] = [0, 0];
  for (let i = 0; i < 3; i++) {
    trace += at(c, i, i);
    for (let j = 0; j < 4; j++) for (let k = 0; k < 5; k++) total += at(a, i, j) * at(b, j, k);
  }
  expect(run('ab,bc->', [a, b], [])[0]).toBeCloseTo(total, 3);
  expect(run('ii->', [c], [])[0]).toBeCloseTo(trace, 5);
  const chain = run('ab,bc,ad->dc', [a, b, c], [3, 5]);
  let expected = 0;
  for (let i = 0; i < 3; i++) for (let j = 0; j < 4; j++) expected += at(a, i, j) * at(b, j, 2) * at(c, i, 1);
  expect(chain[5 + 2]).toBeCloseTo(expected, 4);
});
