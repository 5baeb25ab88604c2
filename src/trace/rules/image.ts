/** Shape rules of image kernels. */
import { numberAttr, numbersAttr } from '../../graph/attrs.js';
import type { Attrs } from '../../graph/graph.js';
import { each, like, need, type RuleInputs, type Rules, type ShapeRule, spec } from './rule.js';

function resizedShape(inputs: RuleInputs, attrs: Attrs): number[] {
  const [batch = 1, , , channels = 1] = need(inputs, 'images').shape;
  return [batch, ...numbersAttr(attrs, 'size'), channels];
}

const transform: ShapeRule = (inputs, attrs) => {
  const image = need(inputs, 'image');
  const [batch = 1, height = 1, width = 1, channels = 1] = image.shape;
  return spec([batch, ...numbersAttr(attrs, 'outputShape', [height, width]), channels], image.dtype);
};

export const imageRules: Rules = {
  ResizeBilinear: (inputs, attrs) => spec(resizedShape(inputs, attrs), 'float32'),
  ResizeNearestNeighbor: (inputs, attrs) => spec(resizedShape(inputs, attrs), need(inputs, 'images').dtype),
  ...each(['ResizeBilinearGrad', 'ResizeNearestNeighborGrad'], like('images', 'float32')),
  ...each(['FlipLeftRight', 'RotateWithOffset'], like('image')),
  CropAndResize: (inputs, attrs) => {
    const numBoxes = need(inputs, 'boxes').shape[0] ?? 0;
    const channels = need(inputs, 'image').shape[3] ?? 1;
    return spec([numBoxes, ...numbersAttr(attrs, 'cropSize'), channels], 'float32');
  },
  Transform: transform,
  Multinomial: (inputs, attrs) =>
    spec([need(inputs, 'logits').shape[0] ?? 1, numberAttr(attrs, 'numSamples')], 'int32'),
};
