/** Image ops through merak.jit, non-maximum suppression with its data-dependent shapes among them. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, test } from 'vitest';
import { valuesOf, withTensors } from './draw.js';
import { expectParity, forAll } from './parity.js';

beforeAll(() => tf.setBackend('cpu'));

const LOOSE = { relative: 1e-5, absolute: 1e-5 };
const size = (max: number, min = 1) => fc.integer({ min, max });
const images = (batch: fc.Arbitrary<number>, channels = size(4)) =>
  fc.tuple(batch, size(5), size(5), channels).chain((shape) => valuesOf(shape, 'float32', { low: 0, high: 255 }));

test('resizeBilinear, resizeNearestNeighbor', () =>
  forAll(
    fc.tuple(images(size(2)), size(8), size(8), fc.constantFrom([false, false], [true, false], [false, true])),
    ([x, height, width, [align, half]]) =>
      withTensors([x] as const, (image) =>
        expectParity(
          (t: tf.Tensor) => [
            tf.image.resizeBilinear(t as tf.Tensor4D, [height, width], align, half),
            tf.image.resizeNearestNeighbor(t as tf.Tensor4D, [height, width], align, half),
          ],
          [image],
          { relative: 1e-5, absolute: 1e-3 },
        ),
      ),
  ));

test('cropAndResize', () =>
  forAll(
    fc
      .tuple(
        images(fc.constant(2)),
        size(4),
        fc.tuple(size(4), size(4)),
        fc.constantFrom('bilinear' as const, 'nearest' as const),
      )
      .chain(([x, numBoxes, crop, method]) =>
        fc.tuple(
          fc.constant(x),
          valuesOf([numBoxes, 4], 'float32', { low: -0.3, high: 1.3 }),
          valuesOf([numBoxes], 'int32', { low: 0, high: 2 }),
          fc.constant({ crop, method }),
        ),
      ),
    ([x, boxes, which, { crop, method }]) =>
      withTensors([x, boxes, which] as const, (a, b, c) =>
        expectParity(
          (image: tf.Tensor, corners: tf.Tensor, index: tf.Tensor) =>
            tf.image.cropAndResize(image as tf.Tensor4D, corners as tf.Tensor2D, index as tf.Tensor1D, crop, method, 9),
          [a, b, c],
          { relative: 1e-5, absolute: 1e-3 },
        ),
      ),
  ));

test('flipLeftRight and rotateWithOffset', () =>
  forAll(
    fc.tuple(
      images(size(2), fc.constantFrom(1, 3, 4)),
      fc.constantFrom(0, 0.3, Math.PI / 2, -2),
      fc.constantFrom<number | [number, number, number]>(0, 17, [1, 2, 3]),
      fc.constantFrom<number | [number, number]>(0.5, [0.2, 0.7]),
    ),
    ([x, radians, fill, center]) =>
      withTensors([x] as const, (image) =>
        expectParity(
          (t: tf.Tensor) => [
            tf.image.flipLeftRight(t as tf.Tensor4D),
            tf.image.rotateWithOffset(t as tf.Tensor4D, radians, fill, center),
          ],
          [image],
          LOOSE,
        ),
      ),
  ));

test('transform', () =>
  forAll(
    fc.tuple(
      // tfjs transforms the first image of a batch only.
      images(fc.constant(1)).chain((x) => fc.tuple(fc.constant(x), valuesOf([1, 8], 'float32', { low: -1, high: 1 }))),
      fc.constantFrom('nearest' as const, 'bilinear' as const),
      fc.constantFrom('constant' as const, 'reflect' as const, 'wrap' as const, 'nearest' as const),
      fc.option(fc.tuple(size(6), size(6)), { nil: undefined }),
    ),
    ([[x, matrix], interpolation, fillMode, shape]) =>
      withTensors([x, matrix] as const, (image, transforms) =>
        expectParity(
          (t: tf.Tensor, m: tf.Tensor) =>
            tf.image.transform(t as tf.Tensor4D, m as tf.Tensor2D, interpolation, fillMode, 5, shape),
          [image, transforms],
          // A coordinate on the edge of a pixel, far outside, is a large number with few digits after its point.
          { relative: 1e-4, absolute: 1e-2 },
        ),
      ),
  ));

test('grayscaleToRGB, rgbToGrayscale, threshold', () =>
  forAll(images(fc.constant(1), fc.constant(3)), (x) =>
    withTensors([x] as const, (image) =>
      expectParity(
        (t: tf.Tensor) => tf.image.grayscaleToRGB(tf.image.rgbToGrayscale(t as tf.Tensor4D) as tf.Tensor4D),
        [image],
        {
          relative: 1e-5,
          absolute: 1e-3,
        },
      ),
    ),
  ));

describe('non-maximum suppression', () => {
  const boxes = size(8).chain((n) =>
    fc.tuple(
      valuesOf([n, 4], 'float32', { low: 0, high: 1 }),
      // Few distinct scores: ties are broken by box number.
      valuesOf([n], 'float32', { low: 0, high: 1 }).map((s) => ({
        ...s,
        values: s.values.map((v) => Math.round(v * 8) / 8),
      })),
      fc.record({ limit: size(8, 0), iou: fc.constantFrom(0, 0.2, 0.5, 1), score: fc.constantFrom(-Infinity, 0, 0.4) }),
    ),
  );

  test('selected indices, and what is gathered by them', () =>
    forAll(boxes, ([b, s, { limit, iou, score }]) =>
      withTensors([b, s] as const, (corners, scores) =>
        expectParity(
          (c: tf.Tensor, p: tf.Tensor) => {
            const picked = tf.image.nonMaxSuppression(c as tf.Tensor2D, p as tf.Tensor1D, limit, iou, score);
            return { picked, rows: tf.gather(c, picked) };
          },
          [corners, scores],
        ),
      ),
    ));

  test('with scores, soft', () =>
    forAll(fc.tuple(boxes, fc.constantFrom(0, 0.3, 1)), ([[b, s, { limit, iou, score }], sigma]) =>
      withTensors([b, s] as const, (corners, scores) =>
        expectParity(
          (c: tf.Tensor, p: tf.Tensor) =>
            tf.image.nonMaxSuppressionWithScore(c as tf.Tensor2D, p as tf.Tensor1D, limit, iou, score, sigma),
          [corners, scores],
        ),
      ),
    ));

  test('padded and not', () =>
    forAll(fc.tuple(boxes, fc.boolean()), ([[b, s, { limit, iou, score }], pads]) =>
      withTensors([b, s] as const, (corners, scores) =>
        expectParity(
          (c: tf.Tensor, p: tf.Tensor) =>
            tf.image.nonMaxSuppressionPadded(c as tf.Tensor2D, p as tf.Tensor1D, limit, iou, score, pads),
          [corners, scores],
        ),
      ),
    ));
});
