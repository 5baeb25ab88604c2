/**
 * Kernels that cut a dim or put pieces together: Slice, StridedSlice, SplitV, Concat, Pack, Unpack. A dim cut at
 * multiples of n is [pieces, n]; sharding n keeps the cut local (a fused q|k|v projection is [3, H]: `parts` 3).
 */
import { type DimFactors, FactorList, type RuleMaker, withAttrs } from '../rule.js';
import { dimAttr, greatestCommonDivisor, numberList } from './attributes.js';

/** Scales the numbers that count along a dim from its whole to its local size. */
function scaled(value: number, whole: number, local: number): number {
  return whole === 0 ? value : (value * local) / whole;
}

const slice: RuleMaker = (node, shapes) => {
  const input = shapes.inputs[0] ?? [];
  const output = shapes.outputs[0] ?? [];
  const begins = numberList(node.attrs.begin);
  if (begins === undefined) return undefined;
  const begin = (dim: number): number => begins[dim] ?? 0;
  const list = new FactorList();
  const inputDims: number[][] = [];
  const outputDims: number[][] = [];
  input.forEach((size, dim) => {
    const taken = output[dim] ?? size;
    // Zero padding lies at the end of the whole dim: only an untouched dim may carry it.
    const unit = greatestCommonDivisor(greatestCommonDivisor(size, taken), begin(dim));
    const factor = list.parallel(unit, unit === size ? 'kept' : 'never');
    inputDims.push(unit === size ? [factor] : [list.whole(size / unit), factor]);
    outputDims.push(unit === taken ? [factor] : [list.whole(taken / unit), factor]);
  });
  return {
    factors: list.factors,
    inputs: [inputDims],
    outputs: [outputDims],
    linear: [[0]],
    localise: (local) =>
      withAttrs(node, {
        begin: input.map((size, dim) => scaled(begin(dim), size, local.localInputShapes[0]?.[dim] ?? size)),
        size: local.localOutputShapes[0] ?? [],
      }),
  };
};

/** Only dims taken whole from 0 on may be sharded; a mask that adds or drops dims makes the call replicated. */
const stridedSlice: RuleMaker = (node, shapes) => {
  const input = shapes.inputs[0] ?? [];
  const output = shapes.outputs[0] ?? [];
  const begin = numberList(node.attrs.begin);
  const end = numberList(node.attrs.end);
  const strides = numberList(node.attrs.strides);
  const masks = [node.attrs.ellipsisMask, node.attrs.newAxisMask, node.attrs.shrinkAxisMask];
  if (begin === undefined || end === undefined || masks.some((mask) => (mask ?? 0) !== 0)) return undefined;
  if (input.length !== output.length) return undefined;
  const list = new FactorList();
  const isWhole = (dim: number): boolean =>
    input[dim] === output[dim] && (strides?.[dim] ?? 1) === 1 && (begin[dim] ?? 0) === 0;
  const factors = input.map((size, dim) => (isWhole(dim) ? list.parallel(size) : -1));
  return {
    factors: list.factors,
    inputs: [factors.map((factor) => (factor < 0 ? [] : [factor]))],
    outputs: [factors.map((factor) => (factor < 0 ? [] : [factor]))],
    linear: [[0]],
    localise: (local) => {
      const localInput = local.localInputShapes[0] ?? [];
      return withAttrs(node, { end: end.map((stop, dim) => (isWhole(dim) ? (localInput[dim] ?? stop) : stop)) });
    },
  };
};

const split: RuleMaker = (node, shapes) => {
  const input = shapes.inputs[0] ?? [];
  const axis = dimAttr(node.attrs.axis, input.length);
  const sizes = shapes.outputs.map((shape) => shape[axis] ?? 0);
  const list = new FactorList();
  const { whole, pieces } = cutDim(list, input[axis] ?? 0, sizes);
  const others = input.map((size, dim) => (dim === axis ? -1 : list.parallel(size)));
  return {
    factors: list.factors,
    inputs: [others.map((factor, dim) => (dim === axis ? whole : [factor]))],
    outputs: pieces.map((piece) => others.map((factor, dim) => (dim === axis ? piece : [factor]))),
    linear: [[0]],
    localise: (local) =>
      typeof node.attrs.numOrSizeSplits === 'number'
        ? withAttrs(node, {})
        : withAttrs(node, { numOrSizeSplits: local.localOutputShapes.map((shape) => shape[axis] ?? 0) }),
  };
};

/** A dim of `size` made of consecutive pieces of `sizes`: the factors of the dim and of each piece. */
function cutDim(list: FactorList, size: number, sizes: readonly number[]): { whole: number[]; pieces: number[][] } {
  const unit = sizes.reduce(greatestCommonDivisor, 0);
  if (unit === 0) return { whole: [list.whole(size)], pieces: sizes.map((piece) => [list.whole(piece)]) };
  const factor = list.parallel(unit);
  const dimOf = (length: number): number[] => (length === unit ? [factor] : [list.whole(length / unit), factor]);
  return { whole: dimOf(size), pieces: sizes.map(dimOf) };
}

const concat: RuleMaker = (node, shapes) => {
  const output = shapes.outputs[0] ?? [];
  const axis = dimAttr(node.attrs.axis, output.length);
  const list = new FactorList();
  const { whole, pieces } = cutDim(
    list,
    output[axis] ?? 0,
    shapes.inputs.map((shape) => shape[axis] ?? 0),
  );
  const others = output.map((size, dim) => (dim === axis ? -1 : list.parallel(size)));
  const dims = (along: number[]): DimFactors => others.map((factor, dim) => (dim === axis ? along : [factor]));
  return {
    factors: list.factors,
    inputs: pieces.map(dims),
    outputs: [dims(whole)],
    linear: [shapes.inputs.map((_, input) => input)],
  };
};

/** Pack adds the dim `axis`; Unpack takes it away. The other dims stay as they are. */
const pack: RuleMaker = (node, shapes) => {
  const [one = []] = shapes.inputs;
  const axis = dimAttr(node.attrs.axis, one.length + 1);
  const list = new FactorList();
  const dims = one.map((size) => [list.parallel(size)]);
  return {
    factors: list.factors,
    inputs: shapes.inputs.map(() => dims),
    outputs: [[...dims.slice(0, axis), [list.whole(shapes.inputs.length)], ...dims.slice(axis)]],
    linear: [shapes.inputs.map((_, input) => input)],
  };
};

const unpack: RuleMaker = (node, shapes) => {
  const [whole = []] = shapes.inputs;
  const axis = dimAttr(node.attrs.axis, whole.length);
  const list = new FactorList();
  const dims = whole.map((size, dim) => [dim === axis ? list.whole(size) : list.parallel(size)]);
  return {
    factors: list.factors,
    inputs: [dims],
    outputs: shapes.outputs.map(() => dims.filter((_, dim) => dim !== axis)),
    linear: [[0]],
  };
};

export const SLICE_RULES: ReadonlyMap<string, RuleMaker> = new Map([
  ['Slice', slice],
  ['StridedSlice', stridedSlice],
  ['SplitV', split],
  ['Concat', concat],
  ['Pack', pack],
  ['Unpack', unpack],
]);
