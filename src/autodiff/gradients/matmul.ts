/** Matrix products: BatchMatMul with broadcast batch dims (wrong in tfjs) and Einsum (missing in tfjs). */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import { flag, input, only } from './access.js';
import { broadcastTo, reshapeTo, sumTo } from './broadcast.js';
import type { GradientRules } from './rule.js';

export const matmulGradients: GradientRules = {
  BatchMatMul: (dys, call) => {
    const [a, b] = [input(call, 'a'), input(call, 'b')];
    const [transposeA, transposeB] = [flag(call.attrs, 'transposeA'), flag(call.attrs, 'transposeB')];
    const dy = only(dys);
    return {
      a: () => sumTo(transposeA ? tf.matMul(b, dy, transposeB, true) : tf.matMul(dy, b, false, !transposeB), a.shape),
      b: () => sumTo(transposeB ? tf.matMul(dy, a, true, transposeA) : tf.matMul(a, dy, !transposeA, false), b.shape),
    };
  },
  Einsum: (dys, call) => {
    const equation = parseEinsum(String(call.attrs.equation));
    const gradients = equation.operands.map((_, index) => [
      String(index),
      () => einsumGradient(only(dys), equation, index, call.inputs),
    ]);
    return Object.fromEntries(gradients) as Record<string, () => tf.Tensor>;
  },
};

interface Equation {
  readonly operands: readonly string[];
  readonly output: string;
}

function parseEinsum(text: string): Equation {
  const [left = '', right = ''] = text.replace(/\s/g, '').split('->');
  return { operands: left.split(','), output: right };
}

/**
 * The gradient of one operand is the einsum of dy and the other operands onto its labels: every product is linear in
 * each factor. Labels that only this operand has were summed out, so the gradient is constant along them.
 */
function einsumGradient(
  dy: tf.Tensor,
  { operands, output }: Equation,
  index: number,
  inputs: Readonly<Record<string, tf.Tensor>>,
): tf.Tensor {
  const labels = operands[index] ?? '';
  const target = inputs[String(index)];
  const others = operands.flatMap((operand, other) =>
    other === index ? [] : [{ operand, tensor: inputs[String(other)] }],
  );
  if (
    target === undefined ||
    new Set(labels).size !== labels.length ||
    others.some(({ tensor }) => tensor === undefined)
  ) {
    throw new MerakError('autodiff/no-gradient', `no gradient for an einsum with repeated labels in '${labels}'`);
  }
  const reachable = [...labels].filter(
    (label) => output.includes(label) || others.some(({ operand }) => operand.includes(label)),
  );
  const equation = `${[output, ...others.map(({ operand }) => operand)].join(',')}->${reachable.join('')}`;
  const tensors = others.flatMap(({ tensor }) => (tensor === undefined ? [] : [tensor]));
  const gradient = equation === `${output}->${output}` ? dy : tf.einsum(equation, dy, ...tensors);
  const kept = [...labels].map((label, dim) => (reachable.includes(label) ? (target.shape[dim] ?? 1) : 1));
  return broadcastTo(reshapeTo(gradient, kept), target.shape);
}
