/** Shape rules of kernels that move, repeat, join or cut data without computing on it. */
import * as tf from '@tensorflow/tfjs';
import { numberAttr, numberOrNumbersAttr, numbersAttr, rowsAttr, stringAttr } from '../../graph/attrs.js';
import type { Attrs } from '../../graph/graph.js';
import { broadcast, each, like, listed, need, type Rules, type ShapeRule, shapeOf, spec } from './rule.js';

function axisOf(attrs: Attrs, rank: number, name = 'axis'): number {
  const axis = numberOrNumbersAttr(attrs, name, 0)[0] ?? 0;
  return axis < 0 ? axis + rank : axis;
}

const concat: ShapeRule = (inputs, attrs) => {
  const parts = listed(inputs);
  const axis = axisOf(attrs, parts[0]?.shape.length ?? 0);
  const shape = tf.backend_util.computeOutShape(parts.map(shapeOf), axis);
  return spec(shape, parts[0]?.dtype ?? 'float32');
};

const pack: ShapeRule = (inputs, attrs) => {
  const parts = listed(inputs);
  const shape = parts[0]?.shape ?? [];
  const axis = axisOf(attrs, shape.length + 1);
  return spec([...shape.slice(0, axis), parts.length, ...shape.slice(axis)], parts[0]?.dtype ?? 'float32');
};

const unpack: ShapeRule = (inputs, attrs) => {
  const value = need(inputs, 'value');
  const axis = axisOf(attrs, value.shape.length);
  const shape = value.shape.filter((_, dim) => dim !== axis);
  return Array.from({ length: value.shape[axis] ?? 0 }, () => spec(shape, value.dtype));
};

const split: ShapeRule = (inputs, attrs) => {
  const x = need(inputs, 'x');
  const axis = axisOf(attrs, x.shape.length);
  const total = x.shape[axis] ?? 0;
  const given = attrs.numOrSizeSplits;
  const sizes =
    typeof given === 'number'
      ? new Array<number>(given).fill(total / given)
      : completeSplit(numbersAttr(attrs, 'numOrSizeSplits'), total);
  return sizes.map((size) =>
    spec(
      x.shape.map((whole, dim) => (dim === axis ? size : whole)),
      x.dtype,
    ),
  );
};

/** One size may be -1: what is left. */
function completeSplit(sizes: readonly number[], total: number): number[] {
  const given = sizes.filter((size) => size !== -1).reduce((sum, size) => sum + size, 0);
  return sizes.map((size) => (size === -1 ? total - given : size));
}

const slice: ShapeRule = (inputs, attrs) => {
  const x = need(inputs, 'x');
  const begin = numberOrNumbersAttr(attrs, 'begin');
  const size = numberOrNumbersAttr(attrs, 'size', -1);
  const shape = x.shape.map((whole, dim) => {
    const wanted = size[dim] ?? -1;
    return wanted < 0 ? whole - (begin[dim] ?? 0) : wanted;
  });
  return spec(shape, x.dtype);
};

const stridedSlice: ShapeRule = (inputs, attrs) => {
  const x = need(inputs, 'x');
  const info = tf.slice_util.sliceInfo(
    shapeOf(x),
    numbersAttr(attrs, 'begin'),
    numbersAttr(attrs, 'end'),
    numbersAttr(attrs, 'strides'),
    numberAttr(attrs, 'beginMask', 0),
    numberAttr(attrs, 'endMask', 0),
    numberAttr(attrs, 'ellipsisMask', 0),
    numberAttr(attrs, 'newAxisMask', 0),
    numberAttr(attrs, 'shrinkAxisMask', 0),
  );
  return spec(info.finalShape, x.dtype);
};

const pad: ShapeRule = (inputs, attrs) => {
  const x = need(inputs, 'x');
  const paddings = rowsAttr(attrs, 'paddings');
  const shape = x.shape.map((size, dim) => size + (paddings[dim]?.[0] ?? 0) + (paddings[dim]?.[1] ?? 0));
  return spec(shape, x.dtype);
};

const batchToSpace: ShapeRule = (inputs, attrs) => {
  const x = need(inputs, 'x');
  const block = numbersAttr(attrs, 'blockShape');
  const crops = rowsAttr(attrs, 'crops');
  const batch = (x.shape[0] ?? 1) / block.reduce((product, size) => product * size, 1);
  const spatial = block.map(
    (size, dim) => (x.shape[dim + 1] ?? 1) * size - (crops[dim]?.[0] ?? 0) - (crops[dim]?.[1] ?? 0),
  );
  return spec([batch, ...spatial, ...x.shape.slice(1 + block.length)], x.dtype);
};

const spaceToBatch: ShapeRule = (inputs, attrs) => {
  const x = need(inputs, 'x');
  const block = numbersAttr(attrs, 'blockShape');
  const paddings = rowsAttr(attrs, 'paddings');
  const batch = (x.shape[0] ?? 1) * block.reduce((product, size) => product * size, 1);
  const spatial = block.map(
    (size, dim) => ((x.shape[dim + 1] ?? 1) + (paddings[dim]?.[0] ?? 0) + (paddings[dim]?.[1] ?? 0)) / size,
  );
  return spec([batch, ...spatial, ...x.shape.slice(1 + block.length)], x.dtype);
};

const depthToSpace: ShapeRule = (inputs, attrs) => {
  const x = need(inputs, 'x');
  const block = numberAttr(attrs, 'blockSize');
  const [batch = 1, b = 1, c = 1, d = 1] = x.shape;
  return stringAttr(attrs, 'dataFormat', 'NHWC') === 'NHWC'
    ? spec([batch, b * block, c * block, d / (block * block)], x.dtype)
    : spec([batch, b / (block * block), c * block, d * block], x.dtype);
};

export const movementRules: Rules = {
  Reshape: (inputs, attrs) => {
    const x = need(inputs, 'x');
    const size = tf.util.sizeFromShape(shapeOf(x));
    return spec(tf.util.inferFromImplicitShape(numbersAttr(attrs, 'shape'), size), x.dtype);
  },
  ExpandDims: (inputs, attrs) => {
    const x = need(inputs, 'input');
    const dim = axisOf(attrs, x.shape.length + 1, 'dim');
    return spec([...x.shape.slice(0, dim), 1, ...x.shape.slice(dim)], x.dtype);
  },
  Transpose: (inputs, attrs) => {
    const x = need(inputs, 'x');
    return spec(
      numbersAttr(attrs, 'perm').map((dim) => x.shape[dim] ?? 1),
      x.dtype,
    );
  },
  BroadcastTo: (inputs, attrs) => spec(numbersAttr(attrs, 'shape'), need(inputs, 'x').dtype),
  Tile: (inputs, attrs) => {
    const x = need(inputs, 'x');
    const reps = numbersAttr(attrs, 'reps');
    return spec(
      x.shape.map((size, dim) => size * (reps[dim] ?? 1)),
      x.dtype,
    );
  },
  Diag: (inputs) => spec([...need(inputs, 'x').shape, ...need(inputs, 'x').shape], need(inputs, 'x').dtype),
  Concat: concat,
  Pack: pack,
  Unpack: unpack,
  SplitV: split,
  Slice: slice,
  StridedSlice: stridedSlice,
  ...each(['PadV2', 'MirrorPad'], pad),
  Reverse: like('x'),
  MatrixBandPart: (inputs) => {
    const x = need(inputs, 'input');
    return spec(broadcast(x.shape, x.shape), x.dtype);
  },
  BatchToSpaceND: batchToSpace,
  SpaceToBatchND: spaceToBatch,
  DepthToSpace: depthToSpace,
};
