/** Convolutions and pools through merak.jit: SAME, VALID and explicit padding, strides, dilations, rounding, 1 to 3 spatial dims. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, test } from 'vitest';
import { tensors, valuesOf, withTensors } from './draw.js';
import { expectParity, forAll } from './parity.js';

beforeAll(() => tf.setBackend('cpu'));

const LOOSE = { relative: 1e-4, absolute: 1e-4 };

interface Convolution {
  readonly height: number;
  readonly width: number;
  readonly filter: [number, number];
  readonly inChannels: number;
  readonly outChannels: number;
  readonly strides: [number, number];
  readonly dilations: [number, number];
  readonly pad: 'same' | 'valid' | number | tf.backend_util.ExplicitPadding;
  readonly rounding: 'floor' | 'ceil' | 'round';
}

const size = (max: number, min = 1) => fc.integer({ min, max });

/** Strides or dilations, not both: tfjs refuses them together. */
const convolutions: fc.Arbitrary<Convolution> = fc
  .record({
    height: size(7),
    width: size(7),
    filter: fc.tuple(size(3), size(3)),
    inChannels: size(3),
    outChannels: size(4),
    steps: fc.tuple(size(2), size(2)),
    dilates: fc.boolean(),
    pad: fc.oneof(
      fc.constantFrom<'same' | 'valid' | 1>('same', 'valid', 1),
      fc.tuple(size(1, 0), size(1, 0), size(1, 0), size(1, 0)).map(
        ([top, bottom, left, right]): tf.backend_util.ExplicitPadding => [
          [0, 0],
          [top, bottom],
          [left, right],
          [0, 0],
        ],
      ),
    ),
    rounding: fc.constantFrom('floor' as const, 'ceil' as const, 'round' as const),
  })
  .map(
    ({ steps, dilates, ...rest }) =>
      ({
        ...rest,
        strides: dilates ? [1, 1] : steps,
        dilations: dilates ? steps : [1, 1],
      }) as Convolution,
  )
  .filter(({ height, width, filter, dilations, pad }) => {
    const covers = (extent: number, taps: number, dilation: number) => extent >= (taps - 1) * dilation + 1;
    return pad === 'same' || (covers(height, filter[0], dilations[0]) && covers(width, filter[1], dilations[1]));
  });

const rounding = ({ pad, rounding: mode }: Convolution) => (typeof pad === 'string' ? undefined : mode);

/** In three dims tfjs pads by a negative number where a SAME window is smaller than its stride. */
const notSkipping = ([, taps, stride]: readonly [number, number, number, string]) => taps >= stride;

describe('convolutions', () => {
  test('conv2d', () =>
    forAll(
      convolutions.chain((c) =>
        fc.tuple(
          fc.constant(c),
          valuesOf([2, c.height, c.width, c.inChannels], 'float32'),
          valuesOf([...c.filter, c.inChannels, c.outChannels], 'float32'),
        ),
      ),
      ([c, x, filter]) =>
        withTensors([x, filter] as const, (a, b) =>
          expectParity(
            (s: tf.Tensor, f: tf.Tensor) =>
              tf.conv2d(s as tf.Tensor4D, f as tf.Tensor4D, c.strides, c.pad, 'NHWC', c.dilations, rounding(c)),
            [a, b],
            LOOSE,
          ),
        ),
    ));

  test('depthwiseConv2d', () =>
    forAll(
      convolutions.chain((c) =>
        fc.tuple(
          fc.constant(c),
          valuesOf([2, c.height, c.width, c.inChannels], 'float32'),
          valuesOf([...c.filter, c.inChannels, 2], 'float32'),
        ),
      ),
      ([c, x, filter]) =>
        withTensors([x, filter] as const, (a, b) =>
          expectParity(
            (s: tf.Tensor, f: tf.Tensor) =>
              tf.depthwiseConv2d(
                s as tf.Tensor4D,
                f as tf.Tensor4D,
                c.strides,
                c.pad,
                'NHWC',
                c.dilations,
                rounding(c),
              ),
            [a, b],
            LOOSE,
          ),
        ),
    ));

  test('fused conv2d and depthwiseConv2d with bias and activation', () =>
    forAll(
      fc
        .tuple(convolutions, fc.constantFrom('linear', 'relu', 'relu6', 'elu', 'sigmoid', 'tanh'))
        .chain(([c, activation]) =>
          fc.tuple(
            fc.constant({ c, activation: activation as 'relu' }),
            valuesOf([1, c.height, c.width, c.inChannels], 'float32'),
            valuesOf([...c.filter, c.inChannels, c.outChannels], 'float32'),
            valuesOf([c.outChannels], 'float32'),
          ),
        ),
      ([{ c, activation }, x, filter, bias]) =>
        withTensors([x, filter, bias] as const, (a, b, d) =>
          expectParity(
            (s: tf.Tensor, f: tf.Tensor, e: tf.Tensor) =>
              tf.fused.conv2d({
                x: s as tf.Tensor4D,
                filter: f as tf.Tensor4D,
                strides: c.strides,
                pad: c.pad as 'same',
                dilations: c.dilations,
                dimRoundingMode: rounding(c) as 'floor',
                bias: e,
                activation,
              }),
            [a, b, d],
            LOOSE,
          ),
        ),
    ));

  test('conv2dTranspose', () =>
    forAll(
      fc
        .tuple(size(4), size(4), size(3), size(2), fc.constantFrom('same' as const, 'valid' as const))
        .chain(([height, width, taps, stride, pad]) =>
          fc.tuple(
            valuesOf([1, height, width, 3], 'float32'),
            valuesOf([taps, taps, 2, 3], 'float32'),
            fc.constant({ stride, pad, out: (n: number) => (pad === 'same' ? n * stride : (n - 1) * stride + taps) }),
          ),
        ),
      ([x, filter, { stride, pad, out }]) =>
        withTensors([x, filter] as const, (a, b) =>
          expectParity(
            (s: tf.Tensor, f: tf.Tensor) =>
              tf.conv2dTranspose(
                s as tf.Tensor4D,
                f as tf.Tensor4D,
                [1, out(s.shape[1]!), out(s.shape[2]!), 2],
                stride,
                pad,
              ),
            [a, b],
            LOOSE,
          ),
        ),
    ));

  test('conv1d', () =>
    forAll(
      fc
        .tuple(size(7, 3), size(3), size(2), fc.boolean(), fc.constantFrom('same' as const, 'valid' as const))
        .chain(([width, taps, step, dilates, pad]) =>
          fc.tuple(
            valuesOf([2, width, 3], 'float32'),
            valuesOf([taps, 3, 2], 'float32'),
            fc.constant({ stride: dilates ? 1 : step, dilation: dilates ? step : 1, pad }),
          ),
        ),
      ([x, filter, { stride, dilation, pad }]) =>
        withTensors([x, filter] as const, (a, b) =>
          pad === 'valid' && (filter.shape[0]! - 1) * dilation + 1 > x.shape[1]!
            ? Promise.resolve()
            : expectParity(
                (s: tf.Tensor, f: tf.Tensor) =>
                  tf.conv1d(s as tf.Tensor3D, f as tf.Tensor3D, stride, pad, 'NWC', dilation),
                [a, b],
                LOOSE,
              ),
        ),
    ));

  test('conv3d', () =>
    forAll(
      fc
        .tuple(size(4, 2), size(2), size(2), fc.constantFrom('same' as const, 'valid' as const))
        .filter(notSkipping)
        .chain(([extent, taps, stride, pad]) =>
          fc.tuple(
            valuesOf([1, extent, extent, extent, 2], 'float32'),
            valuesOf([taps, taps, taps, 2, 2], 'float32'),
            fc.constant({ stride, pad }),
          ),
        ),
      ([x, filter, { stride, pad }]) =>
        withTensors([x, filter] as const, (a, b) =>
          expectParity(
            (s: tf.Tensor, f: tf.Tensor) => tf.conv3d(s as tf.Tensor5D, f as tf.Tensor5D, stride, pad),
            [a, b],
            LOOSE,
          ),
        ),
    ));

  test('dilation2d and erosion2d', () =>
    forAll(
      convolutions.chain((c) =>
        fc.tuple(fc.constant(c), valuesOf([1, c.height, c.width, 2], 'float32'), valuesOf([...c.filter, 2], 'float32')),
      ),
      ([c, x, filter]) =>
        withTensors([x, filter] as const, (a, b) =>
          expectParity(
            (s: tf.Tensor, f: tf.Tensor) =>
              tf.dilation2d(
                s as tf.Tensor4D,
                f as tf.Tensor3D,
                c.strides,
                typeof c.pad === 'string' ? c.pad : 'same',
                c.dilations,
              ),
            [a, b],
            LOOSE,
          ),
        ),
    ));
});

describe('pools', () => {
  const pools = convolutions.chain((c) => fc.tuple(fc.constant(c), valuesOf([2, c.height, c.width, 3], 'float32')));
  /** With explicit padding the filter is larger than it: tfjs takes some 1 x 1 pools for the identity whatever the stride. */
  const overlaps = ({ pad, filter }: Convolution) => typeof pad === 'string' || Math.min(...filter) > 1;

  test.each(Object.entries({ maxPool: tf.maxPool, avgPool: tf.avgPool }))('%s', (_, pool) =>
    forAll(
      pools.filter(([c]) => overlaps(c)),
      ([c, x]) =>
        withTensors([x] as const, (a) =>
          expectParity(
            (s: tf.Tensor) => pool(s as tf.Tensor4D, c.filter, c.strides, c.pad as 'same', rounding(c)),
            [a],
            LOOSE,
          ),
        ),
    ),
  );

  test.each(Object.entries({ maxPool3d: tf.maxPool3d, avgPool3d: tf.avgPool3d }))('%s', (_, pool) =>
    forAll(
      fc
        .tuple(size(4, 2), size(2), size(2), fc.constantFrom('same' as const, 'valid' as const))
        .filter(notSkipping)
        .chain(([extent, taps, stride, pad]) =>
          fc.tuple(valuesOf([1, extent, extent, extent, 2], 'float32'), fc.constant({ taps, stride, pad })),
        ),
      ([x, { taps, stride, pad }]) =>
        withTensors([x] as const, (a) =>
          expectParity((s: tf.Tensor) => pool(s as tf.Tensor5D, taps, stride, pad), [a], LOOSE),
        ),
    ),
  );

  test('maxPoolWithArgmax', () =>
    forAll(fc.tuple(pools, fc.boolean()), ([[c, x], inBatch]) =>
      withTensors([x] as const, (a) =>
        expectParity(
          (s: tf.Tensor) => ({
            ...tf.maxPoolWithArgmax(
              s as tf.Tensor4D,
              c.filter,
              c.strides,
              typeof c.pad === 'string' ? c.pad : 'same',
              inBatch,
            ),
          }),
          [a],
        ),
      ),
    ));
});

test('localResponseNormalization, batchNorm', () =>
  forAll(
    fc.tuple(tensors(fc.constantFrom([2, 3, 2, 5], [1, 2, 2, 3])), fc.integer({ min: 0, max: 3 })),
    ([x, radius]) =>
      withTensors([x] as const, (a) =>
        expectParity(
          (s: tf.Tensor) => [
            tf.localResponseNormalization(s as tf.Tensor4D, radius, 1.2, 0.4, 0.7),
            tf.batchNorm(s, tf.mean(s, [0, 1, 2]), tf.moments(s, [0, 1, 2]).variance, undefined, undefined, 0.01),
          ],
          [a],
          LOOSE,
        ),
      ),
  ));
