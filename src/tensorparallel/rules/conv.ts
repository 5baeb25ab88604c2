/** Convolutions, pooling, batch normalisation and resizing: channels may be split, space may not. */
import { type DimFactors, FactorList, type Rule, type RuleMaker, withAttrs } from '../rule.js';
import { broadcastFactors } from './elementwise.js';
import { sameDims } from './movement.js';

function channelsLast(format: unknown): boolean {
  return format === undefined || format === null || format === 'NHWC' || format === 'NDHWC';
}

/** x [N, ...space, Cin], filter [...space, Cin, Cout] -> [N, ...space, Cout]: a product of matrices at every point. */
const convolution: RuleMaker = (node, shapes) => {
  const [x = [], filter = []] = shapes.inputs;
  const output = shapes.outputs[0] ?? [];
  const rank = x.length;
  if (!channelsLast(node.attrs.dataFormat) || filter.length !== rank || output.length !== rank) return undefined;
  if (x[rank - 1] !== filter[rank - 2]) return undefined;
  const list = new FactorList();
  const samples = list.parallel(x[0] ?? 1);
  const inChannels = list.add(x[rank - 1] ?? 1, 'sum');
  const outChannels = list.parallel(output[rank - 1] ?? 1);
  const space: DimFactors = x.slice(1, -1).map(() => []);
  return {
    factors: list.factors,
    inputs: [
      [[samples], ...space, [inChannels]],
      [...space, [inChannels], [outChannels]],
    ],
    outputs: [[[samples], ...space, [outChannels]]],
    linear: [[0], [1]],
  };
};

/** Transposed convolution: dy [N, ..., Cout], filter [..., Cin, Cout] -> [N, ..., Cin]. */
const transposedConvolution: RuleMaker = (node, shapes) => {
  const [dy = [], filter = []] = shapes.inputs;
  const output = shapes.outputs[0] ?? [];
  const rank = dy.length;
  if (!channelsLast(node.attrs.dataFormat) || filter.length !== rank || output.length !== rank) return undefined;
  const list = new FactorList();
  const samples = list.parallel(dy[0] ?? 1);
  const outChannels = list.add(dy[rank - 1] ?? 1, 'sum');
  const inChannels = list.parallel(output[rank - 1] ?? 1);
  const space: DimFactors = dy.slice(1, -1).map(() => []);
  return {
    factors: list.factors,
    inputs: [
      [[samples], ...space, [outChannels]],
      [...space, [inChannels], [outChannels]],
    ],
    outputs: [[[samples], ...space, [inChannels]]],
    linear: [[0], [1]],
    localise: ({ localOutputShapes }) => withAttrs(node, { inputShape: localOutputShapes[0] ?? [] }),
  };
};

/** Depthwise: filter [h, w, C, M], output channel c * M + m, so the output's channel dim is [C, M]. */
const depthwise: RuleMaker = (node, shapes) => {
  const [x = [], filter = []] = shapes.inputs;
  if (!channelsLast(node.attrs.dataFormat) || x.length !== 4 || filter.length !== 4) return undefined;
  const list = new FactorList();
  const samples = list.parallel(x[0] ?? 1);
  const channels = list.parallel(x[3] ?? 1);
  const multiplier = list.parallel(filter[3] ?? 1);
  return {
    factors: list.factors,
    inputs: [
      [[samples], [], [], [channels]],
      [[], [], [channels], [multiplier]],
    ],
    outputs: [[[samples], [], [], [channels, multiplier]]],
    linear: [[0], [1]],
  };
};

/** Samples and channels stay apart, space is mixed. */
function perChannel(linear: Rule['linear']): RuleMaker {
  return (node, shapes) => {
    const rank = shapes.inputs[0]?.length ?? 0;
    if (!channelsLast(node.attrs.dataFormat) || rank < 3 || shapes.outputs[0]?.length !== rank) return undefined;
    return sameDims(shapes, (dim) => dim > 0 && dim < rank - 1, linear);
  };
}

/** Statistics, scale and offset broadcast to x: element by element. */
const batchNorm: RuleMaker = (_node, shapes) => {
  const [x = []] = shapes.inputs;
  const list = new FactorList();
  const factors = x.map((size) => list.parallel(size));
  return {
    factors: list.factors,
    inputs: shapes.inputs.map((shape) => broadcastFactors(shape, x, factors)),
    outputs: [factors.map((factor) => [factor])],
    linear: [],
  };
};

export const CONV_RULES: ReadonlyMap<string, RuleMaker> = new Map([
  ['Conv2D', convolution],
  ['Conv3D', convolution],
  ['Conv2DBackpropInput', transposedConvolution],
  ['Conv3DBackpropInputV2', transposedConvolution],
  ['DepthwiseConv2dNative', depthwise],
  ['MaxPool', perChannel([])],
  ['MaxPool3D', perChannel([])],
  ['AvgPool', perChannel([[0]])],
  ['AvgPool3D', perChannel([[0]])],
  ['ResizeBilinear', perChannel([[0]])],
  ['ResizeNearestNeighbor', perChannel([[0]])],
  ['FusedBatchNorm', batchNorm],
]);
