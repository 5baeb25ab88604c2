/** Products of matrices: BatchMatMul and Einsum. */
import { type DimFactors, FactorList, type RuleMaker } from '../rule.js';
import { broadcastFactors } from './elementwise.js';

/**
 * a [..., m, k] b [..., k, n] -> [..., m, n]. Sharding n is column parallel, k row parallel (the output is partial), a
 * batch dim splits the products themselves.
 */
export const batchMatMul: RuleMaker = (node, shapes) => {
  const [a = [], b = []] = shapes.inputs;
  const output = shapes.outputs[0] ?? [];
  const rank = output.length;
  if (a.length < 2 || b.length < 2 || rank < 2) return undefined;
  const transposeA = node.attrs.transposeA === true;
  const transposeB = node.attrs.transposeB === true;
  const list = new FactorList();
  const batch = output.slice(0, -2).map((size) => list.parallel(size));
  const m = list.parallel(output[rank - 2] ?? 1, 'kept');
  const n = list.parallel(output[rank - 1] ?? 1, 'kept');
  const k = list.add(a[a.length - (transposeA ? 2 : 1)] ?? 1, 'sum', 'kept');
  const batchOf = (shape: readonly number[]): DimFactors =>
    broadcastFactors(shape.slice(0, -2), output.slice(0, -2), batch);
  return {
    factors: list.factors,
    inputs: [
      [...batchOf(a), ...(transposeA ? [[k], [m]] : [[m], [k]])],
      [...batchOf(b), ...(transposeB ? [[n], [k]] : [[k], [n]])],
    ],
    outputs: [[...batch.map((factor) => [factor]), [m], [n]]],
    linear: [[0], [1]],
  };
};

/** Any contraction without repeated letters in one operand and without ellipsis. */
export const einsum: RuleMaker = (node, shapes) => {
  const equation = typeof node.attrs.equation === 'string' ? node.attrs.equation.replace(/\s/g, '') : '';
  const [left = '', right] = equation.split('->');
  if (right === undefined || equation.includes('.')) return undefined;
  const terms = left.split(',');
  if (terms.length !== shapes.inputs.length) return undefined;
  if ([...terms, right].some((term) => new Set(term).size !== term.length)) return undefined;
  const list = new FactorList();
  const factorOf = new Map<string, number>();
  terms.forEach((term, input) => {
    [...term].forEach((letter, dim) => {
      if (factorOf.has(letter)) return;
      // A letter of one operand only is summed before any product: fine for the factor model, yet rare.
      factorOf.set(letter, list.add(shapes.inputs[input]?.[dim] ?? 1, right.includes(letter) ? 'parallel' : 'sum'));
    });
  });
  const dims = (term: string): DimFactors => [...term].map((letter) => [factorOf.get(letter) ?? 0]);
  return {
    factors: list.factors,
    inputs: terms.map(dims),
    outputs: [dims(right)],
    linear: terms.map((_, input) => [input]),
  };
};

export const MATMUL_RULES: ReadonlyMap<string, RuleMaker> = new Map([
  ['BatchMatMul', batchMatMul],
  ['Einsum', einsum],
]);
