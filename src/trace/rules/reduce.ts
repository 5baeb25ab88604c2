/** Shape rules of reductions, scans, softmaxes and counts. */
import * as tf from '@tensorflow/tfjs';
import { booleanAttr, numberAttr } from '../../graph/attrs.js';
import type { Attrs, DType } from '../../graph/graph.js';
import { each, like, need, type Rules, type ShapeRule, shapeOf, spec, upcast } from './rule.js';

function reducedShape(shape: readonly number[], axes: readonly number[], keepDims: boolean): number[] {
  const reduced = new Set(axes);
  return keepDims
    ? shape.map((size, dim) => (reduced.has(dim) ? 1 : size))
    : shape.filter((_, dim) => !reduced.has(dim));
}

/** tfjs reduces all dims when `axis` is absent. */
function axesOf(attrs: Attrs, shape: readonly number[]): number[] {
  const axis = attrs.axis ?? attrs.reductionIndices;
  const given = axis === null || axis === undefined ? shape.map((_, dim) => dim) : (axis as number | number[]);
  return tf.util.parseAxisParam(given, [...shape]);
}

function reduction(dtypeOf: (dtype: DType) => DType): ShapeRule {
  return (inputs, attrs) => {
    const x = need(inputs, 'x');
    const keepDims = booleanAttr(attrs, 'keepDims', false);
    return spec(reducedShape(x.shape, axesOf(attrs, x.shape), keepDims), dtypeOf(x.dtype));
  };
}

const argReduction: ShapeRule = (inputs, attrs) => {
  const x = need(inputs, 'x');
  const axes = axesOf(attrs, x.shape).slice(0, 1);
  return spec(reducedShape(x.shape, axes, false), 'int32');
};

const scan: ShapeRule = (inputs) => {
  const x = need(inputs, 'x');
  return spec(x.shape, upcast(x.dtype, 'int32'));
};

export const reduceRules: Rules = {
  ...each(
    ['Sum', 'Prod'],
    reduction((dtype) => upcast(dtype, 'int32')),
  ),
  ...each(
    ['Max', 'Min'],
    reduction((dtype) => dtype),
  ),
  ...each(
    ['All', 'Any'],
    reduction((dtype) => dtype),
  ),
  Mean: reduction(() => 'float32'),
  ...each(['ArgMax', 'ArgMin'], argReduction),
  ...each(['Cumsum', 'Cumprod'], scan),
  ...each(['Softmax', 'LogSoftmax'], like('logits')),
  Bincount: (inputs, attrs) => spec([numberAttr(attrs, 'size')], need(inputs, 'weights').dtype),
  DenseBincount: (inputs, attrs) => {
    const rows = shapeOf(need(inputs, 'x')).slice(0, -1);
    return spec([...rows, numberAttr(attrs, 'size')], need(inputs, 'weights').dtype);
  },
};
