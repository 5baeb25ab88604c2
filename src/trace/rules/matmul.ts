/** Shape rules of matrix products. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import { booleanAttr, stringAttr } from '../../graph/attrs.js';
import { broadcast, listed, need, type Rules, type ShapeRule, spec } from './rule.js';

/** [..., m, k] x [..., k, n] with optional transposition; leading dims broadcast. */
const matMul: ShapeRule = (inputs, attrs) => {
  const a = need(inputs, 'a');
  const b = need(inputs, 'b');
  const [rowsA = 1, colsA = 1] = a.shape.slice(-2);
  const [rowsB = 1, colsB = 1] = b.shape.slice(-2);
  const transposeA = booleanAttr(attrs, 'transposeA', false);
  const transposeB = booleanAttr(attrs, 'transposeB', false);
  const innerA = transposeA ? rowsA : colsA;
  const innerB = transposeB ? colsB : rowsB;
  if (innerA !== innerB) {
    throw new MerakError('trace/model', 'matrix product of shapes that do not fit', {
      expected: `inner dims to agree (transposeA ${transposeA}, transposeB ${transposeB})`,
      received: `[${a.shape.join(', ')}] x [${b.shape.join(', ')}]`,
    });
  }
  const leading = broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2));
  return spec([...leading, transposeA ? colsA : rowsA, transposeB ? rowsB : colsB], a.dtype);
};

/** tfjs's einsum: explicit output, no repeated letter within a term, no ellipsis. */
const einsum: ShapeRule = (inputs, attrs) => {
  const operands = listed(inputs);
  const equation = stringAttr(attrs, 'equation').replace(/\s/g, '');
  const { allDims, idDims } = tf.backend_util.decodeEinsumEquation(equation, operands.length);
  const sizes = new Map<string, number>();
  operands.forEach((operand, index) => {
    idDims[index]?.forEach((letter, dim) => {
      sizes.set(allDims[letter] ?? '', operand.shape[dim] ?? 1);
    });
  });
  const output = equation.split('->')[1] ?? '';
  return spec(
    [...output].map((letter) => sizes.get(letter) ?? 1),
    operands[0]?.dtype ?? 'float32',
  );
};

export const matMulRules: Rules = { BatchMatMul: matMul, _FusedMatMul: matMul, Einsum: einsum };
