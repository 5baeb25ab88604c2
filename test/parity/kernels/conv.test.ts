/** Convolutions and their gradients against the CPU backend. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, test } from 'vitest';
import { runs } from '../cases.js';
import { expectParity, useReferenceBackend } from '../compare.js';
import { floats, seeded } from './draw.js';

beforeAll(useReferenceBackend);

const TOLERANCE = { relative: 1e-5, absolute: 2e-5 };
const small = fc.integer({ min: 1, max: 3 });

type Pad = 'same' | 'valid' | number | [[number, number], [number, number], [number, number], [number, number]];
const pad = fc.oneof(
  fc.constantFrom<Pad>('same', 'valid', 0, 1),
  fc.tuple(fc.nat(2), fc.nat(2), fc.nat(2), fc.nat(2)).map(
    ([t, b, l, r]): Pad => [
      [0, 0],
      [t, b],
      [l, r],
      [0, 0],
    ],
  ),
);

const conv2d = fc.record({
  batch: small,
  height: fc.integer({ min: 3, max: 9 }),
  width: fc.integer({ min: 3, max: 9 }),
  inChannels: fc.constantFrom(1, 2, 3, 5, 17),
  outChannels: fc.constantFrom(1, 2, 4, 16),
  filterHeight: small,
  filterWidth: small,
  stride: fc.integer({ min: 1, max: 2 }),
  pad,
  seed: fc.nat(),
});

test('Conv2D and its gradients', () => {
  fc.assert(
    fc.property(conv2d, fc.integer({ min: 1, max: 2 }), (c, dilation) => {
      const random = seeded(c.seed);
      const x = floats('x', [c.batch, c.height, c.width, c.inChannels], random);
      const filter = floats('filter', [c.filterHeight, c.filterWidth, c.inChannels, c.outChannels], random);
      const d = c.stride > 1 ? 1 : dilation;
      if ((c.filterHeight - 1) * d + 1 > c.height || (c.filterWidth - 1) * d + 1 > c.width) return;
      // With a number as padding tfjs sizes both dims by the filter's height, and throws where that leaves nothing.
      if (typeof c.pad === 'number' && (c.filterHeight - 1) * d + 1 > c.width + 2 * c.pad) return;
      const base = { strides: [c.stride, c.stride], pad: c.pad, dataFormat: 'NHWC' };
      expectParity('Conv2D', [x, filter], { ...base, dilations: [d, d] }, { tolerance: TOLERANCE });
      const info = tf.backend_util.computeConv2DInfo(
        x.shape as [number, number, number, number],
        filter.shape as [number, number, number, number],
        c.stride,
        1,
        c.pad,
      );
      const dy = floats('dy', info.outShape, random);
      const filterAttrs = { ...base, filterShape: [...filter.shape] };
      expectParity('Conv2DBackpropFilter', [x, dy], filterAttrs, { tolerance: TOLERANCE });
      expectParity(
        'Conv2DBackpropInput',
        [dy, filter],
        { ...base, inputShape: [...x.shape] },
        { tolerance: TOLERANCE },
      );
    }),
    runs(60),
  );
});

// Shortcuts of residual networks, for which a processor with AVX2 alone has a way of its own.
test.each([
  [8, 3, 4],
  [8, 5, 24],
  [8, 8, 16],
  [7, 4, 8],
])('a filter of one place with stride 2: %i pixels across, %i to %i channels', (side, inputs, outputs) => {
  const random = seeded(side + inputs);
  const x = floats('x', [4, side, side, inputs], random);
  const filter = floats('filter', [1, 1, inputs, outputs], random);
  const base = { strides: [2, 2], pad: 'same', dataFormat: 'NHWC' };
  expectParity('Conv2D', [x, filter], { ...base, dilations: [1, 1] }, { tolerance: TOLERANCE });
  const dy = floats('dy', [4, Math.ceil(side / 2), Math.ceil(side / 2), outputs], random);
  const filterAttrs = { ...base, filterShape: [...filter.shape] };
  expectParity('Conv2DBackpropFilter', [x, dy], filterAttrs, { tolerance: TOLERANCE });
  expectParity('Conv2DBackpropInput', [dy, filter], { ...base, inputShape: [...x.shape] }, { tolerance: TOLERANCE });
});

test('DepthwiseConv2dNative and its gradients', () => {
  fc.assert(
    fc.property(conv2d, small, (c, multiplier) => {
      const random = seeded(c.seed);
      const x = floats('x', [c.batch, c.height, c.width, c.inChannels], random);
      const filter = floats('filter', [c.filterHeight, c.filterWidth, c.inChannels, multiplier], random);
      const attrs = { strides: [c.stride, c.stride], dilations: [1, 1], pad: c.pad };
      expectParity('DepthwiseConv2dNative', [x, filter], { ...attrs, dataFormat: 'NHWC' }, { tolerance: TOLERANCE });
      const info = tf.backend_util.computeConv2DInfo(
        x.shape as [number, number, number, number],
        filter.shape as [number, number, number, number],
        c.stride,
        1,
        c.pad,
        undefined,
        true,
      );
      const dy = floats('dy', info.outShape, random);
      const filterAttrs = { ...attrs, filterShape: [...filter.shape] };
      const inputAttrs = { ...attrs, inputShape: [...x.shape] };
      expectParity('DepthwiseConv2dNativeBackpropFilter', [x, dy], filterAttrs, { tolerance: TOLERANCE });
      expectParity('DepthwiseConv2dNativeBackpropInput', [dy, filter], inputAttrs, { tolerance: TOLERANCE });
    }),
    runs(40),
  );
});

test('Conv3D and its gradients', () => {
  const random = seeded(5);
  for (const mode of ['same', 'valid'] as const) {
    for (const stride of [1, 2]) {
      const x = floats('x', [2, 5, 4, 6, 3], random);
      const filter = floats('filter', [2, 3, 2, 3, 4], random);
      const strides = [stride, stride, stride];
      expectParity(
        'Conv3D',
        [x, filter],
        { strides, pad: mode, dataFormat: 'NDHWC', dilations: [1, 1, 1] },
        { tolerance: TOLERANCE },
      );
      const info = tf.backend_util.computeConv3DInfo([2, 5, 4, 6, 3], [2, 3, 2, 3, 4], stride, 1, mode);
      const dy = floats('dy', info.outShape, random);
      const filterAttrs = { strides, pad: mode, filterShape: [...filter.shape] };
      expectParity('Conv3DBackpropFilterV2', [x, dy], filterAttrs, { tolerance: TOLERANCE });
      const inputAttrs = { strides, pad: mode, inputShape: [...x.shape] };
      expectParity('Conv3DBackpropInputV2', [dy, filter], inputAttrs, { tolerance: TOLERANCE });
    }
  }
});
