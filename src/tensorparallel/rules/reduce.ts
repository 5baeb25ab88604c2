/** Reductions and softmaxes. Sum and Mean over a sharded dim give partial results; the others need the dim whole. */
import { type Factor, FactorList, type Rule, type RuleMaker } from '../rule.js';
import { dimAttr, reducedDims } from './attributes.js';
import { alongAxis } from './movement.js';

function reduction(kindOfReduced: Factor['kind'], linear: Rule['linear'], localise?: Rule['localise']): RuleMaker {
  return (node, shapes) => {
    const input = shapes.inputs[0] ?? [];
    const single = node.kernel === 'ArgMax' || node.kernel === 'ArgMin';
    // tfjs's Max alone calls its axis `reductionIndices`.
    const axis = node.kernel === 'Max' ? node.attrs.reductionIndices : node.attrs.axis;
    const reduced = single ? new Set([dimAttr(axis, input.length)]) : reducedDims(axis, input.length);
    const kept = (shapes.outputs[0]?.length ?? 0) === input.length;
    const list = new FactorList();
    // Padding is zeros, so a sum over it is right.
    const factors = input.map((size, dim) =>
      reduced.has(dim) ? list.add(size, kindOfReduced, node.kernel === 'Sum' ? 'kept' : 'never') : list.parallel(size),
    );
    const output: number[][] = [];
    factors.forEach((factor, dim) => {
      if (!reduced.has(dim)) output.push([factor]);
      else if (kept) output.push([]);
    });
    return {
      factors: list.factors,
      inputs: [factors.map((factor) => [factor])],
      outputs: [output],
      linear,
      ...(localise === undefined ? {} : { localise }),
    };
  };
}

/** A rank's mean is over its own elements: the mean of all is the sum of the ranks' means over the degree. */
const localMean: Rule['localise'] = ({ node, degree, inputLayouts, outputLayouts }) => {
  const overSharded = inputLayouts[0]?.kind === 'shard' && outputLayouts[0]?.kind === 'partial';
  const call = { kernel: node.kernel, inputNames: node.inputNames, attrs: node.attrs };
  return overSharded ? { ...call, outputScale: 1 / degree } : call;
};

export const REDUCE_RULES: ReadonlyMap<string, RuleMaker> = new Map([
  ['Sum', reduction('sum', [[0]])],
  ['Mean', reduction('sum', [[0]], localMean)],
  ['Max', reduction('whole', [])],
  ['Min', reduction('whole', [])],
  ['Prod', reduction('whole', [])],
  ['All', reduction('whole', [])],
  ['Any', reduction('whole', [])],
  ['ArgMax', reduction('whole', [])],
  ['ArgMin', reduction('whole', [])],
  ['Softmax', alongAxis('dim', [])],
  ['LogSoftmax', alongAxis('axis', [])],
]);
