/** Kernels that move or repeat whole dims: Transpose, Tile, BroadcastTo, PadV2, MirrorPad, Reverse, Cumsum, Fill. */
import { type DimFactors, FactorList, type NodeShapes, type Rule, type RuleMaker, withAttrs } from '../rule.js';
import { dimAttr, numberList } from './attributes.js';
import { broadcastFactors } from './elementwise.js';

/** Output dims follow the input's, except those in `wholeDims`, which no rank may split. */
export function sameDims(
  shapes: NodeShapes,
  wholeDims: (dim: number) => boolean,
  linear: Rule['linear'],
  padding: 'never' | 'kept' = 'never',
): Rule {
  const list = new FactorList();
  const input: number[][] = [];
  const output: number[][] = [];
  (shapes.inputs[0] ?? []).forEach((size, dim) => {
    if (wholeDims(dim)) {
      input.push([list.whole(size)]);
      output.push([list.whole(shapes.outputs[0]?.[dim] ?? 1)]);
    } else {
      const factor = list.parallel(size, padding);
      input.push([factor]);
      output.push([factor]);
    }
  });
  return { factors: list.factors, inputs: [input], outputs: shapes.outputs.map(() => output), linear };
}

const transpose: RuleMaker = (node, shapes) => {
  const perm = numberList(node.attrs.perm);
  const input = shapes.inputs[0] ?? [];
  if (perm === undefined || perm.length !== input.length) return undefined;
  const list = new FactorList();
  const factors = input.map((size) => [list.parallel(size, 'kept')]);
  return {
    factors: list.factors,
    inputs: [factors],
    outputs: [perm.map((dim) => factors[dim] ?? [])],
    linear: [[0]],
  };
};

/** A repeated dim is [reps, size]: sharding the size gives every rank its piece of each repetition. */
const tile: RuleMaker = (node, shapes) => {
  const reps = numberList(node.attrs.reps);
  const input = shapes.inputs[0] ?? [];
  if (reps === undefined || reps.length !== input.length) return undefined;
  const list = new FactorList();
  const factors = input.map((size) => list.parallel(size));
  const outputDims: DimFactors = factors.map((factor, dim) => {
    const count = reps[dim] ?? 1;
    return count === 1 ? [factor] : [list.whole(count), factor];
  });
  return { factors: list.factors, inputs: [factors.map((factor) => [factor])], outputs: [outputDims], linear: [[0]] };
};

const broadcastTo: RuleMaker = (_node, shapes) => {
  const list = new FactorList();
  const target = shapes.outputs[0] ?? [];
  const factors = target.map((size) => list.parallel(size));
  return {
    factors: list.factors,
    inputs: [broadcastFactors(shapes.inputs[0] ?? [], target, factors)],
    outputs: [factors.map((factor) => [factor])],
    linear: [[0]],
    localise: ({ node, localOutputShapes }) => withAttrs(node, { shape: localOutputShapes[0] ?? [] }),
  };
};

/** Dims whose size stays are not padded at all. */
const pad: RuleMaker = (node, shapes) => {
  const zero = node.kernel === 'MirrorPad' || (node.attrs.constantValue ?? 0) === 0;
  const changes = (dim: number): boolean => shapes.inputs[0]?.[dim] !== shapes.outputs[0]?.[dim];
  return sameDims(shapes, changes, zero ? [[0]] : []);
};

const reverse: RuleMaker = (node, shapes) => {
  const rank = shapes.inputs[0]?.length ?? 0;
  const dims = (numberList(node.attrs.dims) ?? []).map((dim) => (dim < 0 ? dim + rank : dim));
  // As in tf.reverse: no dims means all of them.
  return sameDims(shapes, (dim) => dims.length === 0 || dims.includes(dim), [[0]]);
};

/** Kernels along one dim given by `axis` (or `dim`), element by element over the others. */
export function alongAxis(attribute: string, linear: Rule['linear'], fallback = -1): RuleMaker {
  return (node, shapes) => {
    const rank = shapes.inputs[0]?.length ?? 0;
    const axis = dimAttr(node.attrs[attribute], rank, fallback);
    return sameDims(shapes, (dim) => dim === axis, linear);
  };
}

const fill: RuleMaker = (_node, shapes) => {
  const list = new FactorList();
  const output = (shapes.outputs[0] ?? []).map((size) => [list.parallel(size)]);
  return {
    factors: list.factors,
    inputs: [],
    outputs: [output],
    linear: [],
    localise: ({ node, localOutputShapes }) => withAttrs(node, { shape: localOutputShapes[0] ?? [] }),
  };
};

export const MOVEMENT_RULES: ReadonlyMap<string, RuleMaker> = new Map([
  ['Transpose', transpose],
  ['Tile', tile],
  ['BroadcastTo', broadcastTo],
  ['PadV2', pad],
  ['MirrorPad', pad],
  ['Reverse', reverse],
  ['Cumsum', alongAxis('axis', [[0]])],
  ['Cumprod', alongAxis('axis', [])],
  ['Fill', fill],
]);
