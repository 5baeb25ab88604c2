/** Shape rules of pooling and its gradients. */
import * as tf from '@tensorflow/tfjs';
import { stringAttr } from '../../graph/attrs.js';
import type { Attrs } from '../../graph/graph.js';
import { padOf, pairOf, roundingOf, tripleOf } from './conv.js';
import { each, like, need, type RuleInputs, type Rules, type ShapeRule, shapeOf, spec } from './rule.js';

function pooledShape2d(inputs: RuleInputs, attrs: Attrs): number[] {
  return tf.backend_util.computePool2DInfo(
    shapeOf(need(inputs, 'x')) as [number, number, number, number],
    pairOf(attrs, 'filterSize'),
    pairOf(attrs, 'strides'),
    1,
    padOf(attrs),
    roundingOf(attrs),
  ).outShape;
}

const pool2d: ShapeRule = (inputs, attrs) => spec(pooledShape2d(inputs, attrs), need(inputs, 'x').dtype);

const pool3d: ShapeRule = (inputs, attrs) => {
  const x = need(inputs, 'x');
  const info = tf.backend_util.computePool3DInfo(
    shapeOf(x) as [number, number, number, number, number],
    tripleOf(attrs, 'filterSize'),
    tripleOf(attrs, 'strides'),
    1,
    padOf(attrs),
    roundingOf(attrs),
    stringAttr(attrs, 'dataFormat', 'NDHWC') as 'NDHWC' | 'NCDHW',
  );
  return spec(info.outShape, x.dtype);
};

export const poolRules: Rules = {
  ...each(['AvgPool', 'MaxPool'], pool2d),
  ...each(['AvgPool3D', 'MaxPool3D'], pool3d),
  ...each(['AvgPoolGrad', 'MaxPoolGrad', 'AvgPool3DGrad', 'MaxPool3DGrad'], like('input', 'float32')),
  MaxPoolWithArgmax: (inputs, attrs) => {
    const shape = pooledShape2d(inputs, attrs);
    return [spec(shape, need(inputs, 'x').dtype), spec(shape, 'int32')];
  },
};
