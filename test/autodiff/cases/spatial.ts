/** Convolution, pooling and resizing. */
import type { Case, Operand } from '../finiteDifferences.js';

const x = (shape: readonly number[], low = -2, high = 2): Operand => ({ name: 'x', shape, low, high });

export const spatialCases: Case[] = [
  ...[
    { strides: [1, 1], pad: 'same', dilations: [1, 1] },
    { strides: [2, 1], pad: 'valid', dilations: [1, 1] },
    { strides: [1, 1], pad: 'valid', dilations: [2, 1] },
    { strides: [1, 1], pad: 'same', dilations: [2, 2] },
  ].flatMap((attrs) => [
    {
      kernel: 'Conv2D',
      title: `Conv2D ${JSON.stringify(attrs)}`,
      operands: [x([1, 5, 4, 2]), { name: 'filter', shape: [2, 2, 2, 2] }],
      attrs: { ...attrs, dataFormat: 'NHWC' },
    },
    {
      kernel: 'DepthwiseConv2dNative',
      title: `Depthwise ${JSON.stringify(attrs)}`,
      operands: [x([1, 5, 4, 2]), { name: 'filter', shape: [2, 2, 2, 2] }],
      attrs: { ...attrs, strides: [attrs.strides[0] ?? 1, attrs.strides[0] ?? 1] },
    },
  ]),
  {
    kernel: 'Conv2DBackpropInput',
    operands: [
      { name: 'dy', shape: [1, 2, 3, 2] },
      { name: 'filter', shape: [3, 2, 2, 2] },
    ],
    attrs: { strides: [2, 2], pad: 'same', dataFormat: 'NHWC', inputShape: [1, 4, 6, 2] },
  },
  {
    kernel: 'Conv3D',
    operands: [x([1, 3, 3, 2, 1]), { name: 'filter', shape: [2, 2, 1, 1, 2] }],
    attrs: { strides: [1, 1, 1], pad: 'valid', dataFormat: 'NDHWC', dilations: [1, 1, 1] },
  },
  {
    kernel: 'Conv3DBackpropInputV2',
    operands: [
      { name: 'dy', shape: [1, 2, 2, 2, 2] },
      { name: 'filter', shape: [2, 2, 1, 1, 2] },
    ],
    attrs: { strides: [1, 1, 1], pad: 'valid', inputShape: [1, 3, 3, 2, 1] },
  },
  ...['MaxPool', 'AvgPool'].flatMap((kernel) =>
    [
      { filterSize: [2, 2], strides: [2, 2], pad: 'valid' },
      { filterSize: [3, 2], strides: [1, 2], pad: 'same' },
    ].map((attrs) => ({ kernel, title: `${kernel} ${JSON.stringify(attrs)}`, operands: [x([1, 4, 4, 2])], attrs })),
  ),
  ...['MaxPool3D', 'AvgPool3D'].map((kernel) => ({
    kernel,
    operands: [x([1, 2, 4, 3, 1])],
    attrs: { filterSize: [2, 2, 2], strides: [1, 2, 1], pad: 'same', dataFormat: 'NDHWC' },
  })),
  {
    kernel: 'Dilation2D',
    operands: [x([1, 4, 4, 1]), { name: 'filter', shape: [2, 2, 1] }],
    attrs: { strides: [1, 1], pad: 'valid', dilations: [1, 1] },
  },
  ...[true, false].flatMap((alignCorners) => [
    {
      kernel: 'ResizeBilinear',
      title: `ResizeBilinear ${alignCorners}`,
      operands: [{ name: 'images', shape: [1, 3, 2, 2] }],
      attrs: { alignCorners, halfPixelCenters: false, size: [5, 3] },
    },
    {
      kernel: 'ResizeNearestNeighbor',
      title: `ResizeNearest ${alignCorners}`,
      operands: [{ name: 'images', shape: [1, 3, 2, 2] }],
      attrs: { alignCorners, halfPixelCenters: false, size: [4, 4] },
    },
  ]),
];
