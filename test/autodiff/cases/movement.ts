/** Kernels that move data. */
import type { Case, Operand } from '../finiteDifferences.js';

const x = (shape: readonly number[], low = -2, high = 2): Operand => ({ name: 'x', shape, low, high });

export const movementCases: Case[] = [
  { kernel: 'Reshape', operands: [x([2, 6])], attrs: { shape: [3, 4] } },
  { kernel: 'ExpandDims', operands: [{ name: 'input', shape: [2, 3] }], attrs: { dim: 1 } },
  { kernel: 'Transpose', operands: [x([2, 3, 4])], attrs: { perm: [2, 0, 1] } },
  {
    kernel: 'Concat',
    operands: [
      { name: '0', shape: [2, 1] },
      { name: '1', shape: [2, 3] },
    ],
    attrs: { axis: 1 },
  },
  {
    kernel: 'Pack',
    operands: [
      { name: '0', shape: [2, 3] },
      { name: '1', shape: [2, 3] },
    ],
    attrs: { axis: 1 },
  },
  { kernel: 'Unpack', operands: [{ name: 'value', shape: [2, 3, 2] }], attrs: { axis: 1 } },
  { kernel: 'SplitV', operands: [x([2, 5])], attrs: { numOrSizeSplits: [1, 3, 1], axis: 1 } },
  { kernel: 'Slice', operands: [x([3, 4])], attrs: { begin: [1, 0], size: [2, 3] } },
  {
    kernel: 'StridedSlice',
    operands: [x([5, 7])],
    attrs: {
      begin: [0, 1],
      end: [5, 6],
      strides: [2, 3],
      beginMask: 0,
      endMask: 0,
      ellipsisMask: 0,
      newAxisMask: 0,
      shrinkAxisMask: 0,
    },
  },
  {
    kernel: 'StridedSlice',
    title: 'StridedSlice reversed',
    operands: [x([5, 7])],
    attrs: {
      begin: [4, 5],
      end: [0, 0],
      strides: [-2, -2],
      beginMask: 0,
      endMask: 0,
      ellipsisMask: 0,
      newAxisMask: 0,
      shrinkAxisMask: 0,
    },
  },
  {
    kernel: 'StridedSlice',
    title: 'StridedSlice shrink',
    operands: [x([5, 7])],
    attrs: {
      begin: [1, 1],
      end: [2, 7],
      strides: [1, 1],
      beginMask: 0,
      endMask: 0,
      ellipsisMask: 0,
      newAxisMask: 0,
      shrinkAxisMask: 1,
    },
  },
  {
    kernel: 'PadV2',
    operands: [x([2, 3])],
    attrs: {
      paddings: [
        [1, 0],
        [2, 1],
      ],
      constantValue: 0,
    },
  },
  {
    kernel: 'MirrorPad',
    title: 'MirrorPad reflect',
    operands: [x([3, 4])],
    attrs: {
      paddings: [
        [2, 1],
        [3, 2],
      ],
      mode: 'reflect',
    },
  },
  {
    kernel: 'MirrorPad',
    title: 'MirrorPad symmetric',
    operands: [x([3, 4])],
    attrs: {
      paddings: [
        [2, 3],
        [0, 4],
      ],
      mode: 'symmetric',
    },
  },
  { kernel: 'Tile', operands: [x([2, 1, 3])], attrs: { reps: [2, 3, 1] } },
  { kernel: 'Tile', title: 'Tile rank 5', operands: [x([1, 2, 1, 2, 1])], attrs: { reps: [2, 1, 2, 2, 1] } },
  { kernel: 'Reverse', operands: [x([2, 3])], attrs: { dims: [1] } },
  { kernel: 'DepthToSpace', operands: [x([2, 2, 1, 8])], attrs: { blockSize: 2, dataFormat: 'NHWC' } },
  {
    kernel: 'SpaceToBatchND',
    operands: [x([1, 4, 4, 2])],
    attrs: {
      blockShape: [2, 2],
      paddings: [
        [0, 0],
        [0, 0],
      ],
    },
  },
  {
    kernel: 'BatchToSpaceND',
    operands: [x([4, 2, 2, 1])],
    attrs: {
      blockShape: [2, 2],
      crops: [
        [0, 0],
        [0, 0],
      ],
    },
  },
  ...[
    { shape: [4, 3], indices: [2, 2], axis: 0, batchDims: 0 },
    { shape: [2, 4, 3], indices: [3], axis: 1, batchDims: 0 },
    { shape: [2, 3, 4], indices: [2, 2], axis: 2, batchDims: 0 },
    { shape: [2, 4, 3], indices: [2, 3], axis: 1, batchDims: 1 },
    { shape: [2, 3, 4], indices: [2, 2], axis: 2, batchDims: 1 },
  ].map(({ shape, indices, axis, batchDims }) => ({
    kernel: 'GatherV2',
    title: `GatherV2 axis ${axis} of [${shape}] by [${indices}], batch dims ${batchDims}`,
    operands: [
      x(shape),
      {
        name: 'indices',
        shape: indices,
        dtype: 'int32' as const,
        values: [1, 0, 1, 2, 0, 2, 1].slice(
          0,
          indices.reduce((p, s) => p * s, 1),
        ),
      },
    ],
    attrs: { axis, batchDims },
  })),
  {
    kernel: 'GatherNd',
    operands: [
      { name: 'params', shape: [3, 2, 2] },
      { name: 'indices', shape: [3, 2], dtype: 'int32', values: [0, 1, 2, 0, 0, 1] },
    ],
  },
  {
    kernel: 'ScatterNd',
    operands: [
      { name: 'indices', shape: [3, 1], dtype: 'int32', values: [0, 2, 0] },
      { name: 'updates', shape: [3, 2] },
    ],
    attrs: { shape: [4, 2] },
  },
  {
    kernel: 'UnsortedSegmentSum',
    operands: [x([4, 2]), { name: 'segmentIds', shape: [4], dtype: 'int32', values: [0, 2, 0, 1] }],
    attrs: { numSegments: 3 },
  },
];
