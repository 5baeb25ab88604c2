/** Shape rules of convolutions and their gradients. tfjs's own helpers compute paddings and output sizes. */
import * as tf from '@tensorflow/tfjs';
import { numberOrNumbersAttr, numbersAttr, stringAttr } from '../../graph/attrs.js';
import type { Attrs } from '../../graph/graph.js';
import { need, type Rules, type ShapeRule, shapeOf, spec } from './rule.js';

export type Pad = 'valid' | 'same' | number;
export type Rounding = 'floor' | 'round' | 'ceil' | undefined;
export type Pair = [number, number];
export type Triple = [number, number, number];

/** tfjs: a number, 'same', 'valid', or explicit pairs per dim (typed narrower by its helpers than they accept). */
export function padOf(attrs: Attrs): Pad {
  return attrs.pad as Pad;
}

export function roundingOf(attrs: Attrs): Rounding {
  return (attrs.dimRoundingMode ?? undefined) as Rounding;
}

export function pairOf(attrs: Attrs, name: string, fallback?: number): Pair {
  const [first = 1, second = first] = numberOrNumbersAttr(attrs, name, fallback);
  return [first, second];
}

export function tripleOf(attrs: Attrs, name: string, fallback?: number): Triple {
  const [first = 1, second = first, third = second] = numberOrNumbersAttr(attrs, name, fallback);
  return [first, second, third];
}

type Shape4 = [number, number, number, number];
type Shape5 = [number, number, number, number, number];

function conv2d(depthwise: boolean): ShapeRule {
  return (inputs, attrs) => {
    const x = need(inputs, 'x');
    const format = stringAttr(attrs, 'dataFormat', 'NHWC') as 'NHWC' | 'NCHW';
    const info = tf.backend_util.computeConv2DInfo(
      shapeOf(x) as Shape4,
      shapeOf(need(inputs, 'filter')) as Shape4,
      pairOf(attrs, 'strides'),
      pairOf(attrs, 'dilations', 1),
      padOf(attrs),
      roundingOf(attrs),
      depthwise,
      tf.backend_util.convertConv2DDataFormat(format),
    );
    return spec(info.outShape, x.dtype);
  };
}

const conv3d: ShapeRule = (inputs, attrs) => {
  const x = need(inputs, 'x');
  const info = tf.backend_util.computeConv3DInfo(
    shapeOf(x) as Shape5,
    shapeOf(need(inputs, 'filter')) as Shape5,
    tripleOf(attrs, 'strides'),
    tripleOf(attrs, 'dilations', 1),
    padOf(attrs) as 'same' | 'valid',
  );
  return spec(info.outShape, x.dtype);
};

const dilation2d: ShapeRule = (inputs, attrs) => {
  const x = need(inputs, 'x');
  const info = tf.backend_util.computeDilation2DInfo(
    shapeOf(x) as Shape4,
    shapeOf(need(inputs, 'filter')) as Triple,
    pairOf(attrs, 'strides'),
    padOf(attrs),
    'NHWC',
    pairOf(attrs, 'dilations'),
  );
  return spec(info.outShape, x.dtype);
};

const filterGradient: ShapeRule = (_, attrs) => spec(numbersAttr(attrs, 'filterShape'), 'float32');
const inputGradient: ShapeRule = (_, attrs) => spec(numbersAttr(attrs, 'inputShape'), 'float32');

export const convRules: Rules = {
  Conv2D: conv2d(false),
  FusedConv2D: conv2d(false),
  DepthwiseConv2dNative: conv2d(true),
  FusedDepthwiseConv2D: conv2d(true),
  Conv2DBackpropFilter: filterGradient,
  Conv2DBackpropInput: inputGradient,
  DepthwiseConv2dNativeBackpropFilter: filterGradient,
  DepthwiseConv2dNativeBackpropInput: inputGradient,
  Conv3D: conv3d,
  Conv3DBackpropFilterV2: filterGradient,
  Conv3DBackpropInputV2: inputGradient,
  Dilation2D: dilation2d,
  Dilation2DBackpropInput: (inputs) => spec(need(inputs, 'x').shape, need(inputs, 'x').dtype),
  Dilation2DBackpropFilter: (inputs) => spec(need(inputs, 'filter').shape, need(inputs, 'filter').dtype),
};
