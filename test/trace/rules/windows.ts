/** Convolutions and pooling. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { it } from 'vitest';
import { check, checkGradient, property, random } from './harness.js';

export function windowRules(): void {
  it('convolutions', () => {
    const cases = fc.record({
      size: fc.integer({ min: 4, max: 7 }),
      window: fc.integer({ min: 1, max: 3 }),
      stride: fc.integer({ min: 1, max: 2 }),
      pad: fc.constantFrom<'same' | 'valid' | number>('same', 'valid', 1),
      channels: fc.integer({ min: 1, max: 2 }),
    });
    property(
      cases,
      ({ size, window, stride, pad, channels }) => {
        const x = random([2, size, size + 1, channels]);
        const filter = random([window, window, channels, 3]);
        const rounding = typeof pad === 'number' ? 'floor' : undefined;
        const pair: [number, number] = [stride, stride];
        checkGradient(
          (a, b) => tf.conv2d(a as tf.Tensor4D, b as tf.Tensor4D, pair, pad, 'NHWC', 1, rounding),
          x,
          filter,
        );
        const depthwise = (a: tf.Tensor, b: tf.Tensor) =>
          tf.depthwiseConv2d(a as tf.Tensor4D, b as tf.Tensor4D, pair, pad, 'NHWC', 1, rounding);
        checkGradient((a, b) => depthwise(a!, b!), x, filter);
        check(() => tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, 1, 'same', 'NHWC', 2));
        check(() =>
          tf.fused.conv2d({
            x: x as tf.Tensor4D,
            filter: filter as tf.Tensor4D,
            strides: stride,
            pad: 'same',
            bias: random([3]),
            activation: 'relu',
          }),
        );
        check(() =>
          tf.fused.depthwiseConv2d({
            x: x as tf.Tensor4D,
            filter: filter as tf.Tensor4D,
            strides: 1,
            pad: 'same',
            activation: 'relu',
          }),
        );
        const outer: [number, number, number, number] = [2, size * stride, size * stride, channels];
        const transposed = random([2, size, size, 3]) as tf.Tensor4D;
        check(() => tf.conv2dTranspose(transposed, filter as tf.Tensor4D, outer, stride, 'same'));
      },
      12,
    );
    const volume = random([1, 4, 4, 4, 1]);
    const filter = random([2, 2, 2, 1, 2]);
    checkGradient((a, b) => tf.conv3d(a as tf.Tensor5D, b as tf.Tensor5D, 1, 'same'), volume, filter);
    const image = random([1, 5, 5, 2]);
    check(() => tf.dilation2d(image as tf.Tensor4D, random([2, 2, 2]) as tf.Tensor3D, 1, 'valid'));
    checkGradient((a, b) => tf.dilation2d(a as tf.Tensor4D, b as tf.Tensor3D, 1, 'same'), image, random([2, 2, 2]));
  });

  it('pooling', () => {
    const cases = fc.tuple(
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 2 }),
      fc.constantFrom('same', 'valid'),
    );
    property(
      cases,
      ([window, stride, padName]) => {
        const pad = padName as 'same' | 'valid';
        const x = random([2, 5, 6, 2]);
        checkGradient((a) => tf.maxPool(a as tf.Tensor4D, window, stride, pad), x);
        checkGradient((a) => tf.avgPool(a as tf.Tensor4D, window, stride, pad), x);
        const volume = random([1, 4, 4, 4, 1]);
        checkGradient((a) => tf.maxPool3d(a as tf.Tensor5D, window, stride, pad), volume);
        checkGradient((a) => tf.avgPool3d(a as tf.Tensor5D, window, stride, pad), volume);
      },
      8,
    );
    check(() => tf.maxPoolWithArgmax(random([1, 4, 4, 1]) as tf.Tensor4D, 2, 2, 'valid'));
  });
}
