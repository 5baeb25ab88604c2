/** Shape rules of indexing: gathers, scatters, one-hot, search, top-k, and kernels that make values from nothing. */
import * as tf from '@tensorflow/tfjs';
import { numberAttr, numbersAttr, stringAttr } from '../../graph/attrs.js';
import { each, need, type Rules, type ShapeRule, shapeOf, spec, toDType } from './rule.js';

const gather: ShapeRule = (inputs, attrs) => {
  const x = need(inputs, 'x');
  const indices = need(inputs, 'indices');
  const batchDims = numberAttr(attrs, 'batchDims', 0);
  const axis = tf.util.parseAxisParam(numberAttr(attrs, 'axis', 0), shapeOf(x))[0] ?? 0;
  const leading = batchDims < 0 ? batchDims + indices.shape.length : batchDims;
  return spec([...x.shape.slice(0, axis), ...indices.shape.slice(leading), ...x.shape.slice(axis + 1)], x.dtype);
};

const gatherNd: ShapeRule = (inputs) => {
  const params = need(inputs, 'params');
  const indices = need(inputs, 'indices');
  const depth = indices.shape.at(-1) ?? 0;
  return spec([...indices.shape.slice(0, -1), ...params.shape.slice(depth)], params.dtype);
};

const search: ShapeRule = (inputs) => spec(need(inputs, 'values').shape, 'int32');

export const gatherRules: Rules = {
  GatherV2: gather,
  GatherNd: gatherNd,
  ScatterNd: (inputs, attrs) => spec(numbersAttr(attrs, 'shape'), need(inputs, 'updates').dtype),
  TensorScatterUpdate: (inputs) => spec(need(inputs, 'tensor').shape, need(inputs, 'tensor').dtype),
  SparseToDense: (inputs, attrs) => spec(numbersAttr(attrs, 'outputShape'), need(inputs, 'sparseValues').dtype),
  UnsortedSegmentSum: (inputs, attrs) => {
    const x = need(inputs, 'x');
    return spec([numberAttr(attrs, 'numSegments'), ...x.shape.slice(1)], x.dtype);
  },
  OneHot: (inputs, attrs) =>
    spec([...need(inputs, 'indices').shape, numberAttr(attrs, 'depth')], toDType(stringAttr(attrs, 'dtype', 'int32'))),
  ...each(['SearchSorted', 'LowerBound', 'UpperBound'], search),
  TopK: (inputs, attrs) => {
    const x = need(inputs, 'x');
    const shape = [...x.shape.slice(0, -1), numberAttr(attrs, 'k')];
    return [spec(shape, x.dtype), spec(shape, 'int32')];
  },
  BroadcastArgs: (inputs) => {
    const length = Math.max(need(inputs, 's0').shape[0] ?? 0, need(inputs, 's1').shape[0] ?? 0);
    return spec([length], 'int32');
  },
  Fill: (_, attrs) => spec(numbersAttr(attrs, 'shape'), toDType(stringAttr(attrs, 'dtype', 'float32'))),
  LinSpace: (_, attrs) => spec([numberAttr(attrs, 'num')], 'float32'),
  Range: (_, attrs) => {
    const start = numberAttr(attrs, 'start');
    const stop = numberAttr(attrs, 'stop');
    const step = numberAttr(attrs, 'step', 1);
    const size = start === stop ? 0 : Math.max(0, Math.ceil((stop - start) / step));
    return spec([size], toDType(stringAttr(attrs, 'dtype', 'float32')));
  },
};
