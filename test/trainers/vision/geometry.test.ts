/** Boxes, RoIAlign and average precision against direct definitions. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { jit } from '../../../src/index.js';
import { averagePrecisions, overlapOf } from '../../../src/trainers/vision/averagePrecision.js';
import {
  decodeOffsets,
  encodeOffsets,
  overlaps,
  pick,
  smoothL1,
  unsuppressed,
} from '../../../src/trainers/vision/boxes.js';
import { roiAlign } from '../../../src/trainers/vision/roiAlign.js';

const box = fc
  .tuple(
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 2, max: 24 }),
    fc.integer({ min: 2, max: 24 }),
  )
  .map(([x, y, width, height]) => [x, y, x + width, y + height]);
const flat = (x: tf.Tensor): number[] => Array.from(x.dataSync());

it('offsets lead from one box to the other', () => {
  fc.assert(
    fc.property(box, box, (a, b) => {
      const [from, to] = [tf.tensor([[a]]), tf.tensor([[b]])];
      const back = flat(decodeOffsets(from, encodeOffsets(from, to), 64, 64));
      for (const [i, value] of back.entries()) expect(value).toBeCloseTo(b[i]!, 2);
    }),
    { numRuns: 30 },
  );
});

it('overlaps are intersection over union', () => {
  fc.assert(
    fc.property(
      fc.array(box, { minLength: 1, maxLength: 4 }),
      fc.array(box, { minLength: 1, maxLength: 4 }),
      (a, b) => {
        const found = overlaps(tf.tensor([a]), tf.tensor([b])).arraySync() as number[][][];
        for (const [i, one] of a.entries()) {
          for (const [j, other] of b.entries()) expect(found[0]![i]![j]).toBeCloseTo(overlapOf(one, other), 4);
        }
      },
    ),
    { numRuns: 30 },
  );
});

it('suppresses what a better box overlaps too much', () => {
  const boxes = tf.tensor([
    [
      [0, 0, 10, 10],
      [1, 0, 11, 10],
      [30, 30, 40, 40],
      [0, 0, 10, 4],
    ],
  ]);
  expect(flat(unsuppressed(boxes, 0.5))).toEqual([1, 0, 1, 1]);
  expect(flat(pick(boxes, tf.tensor([[2, 0]], [1, 2], 'int32')))).toEqual([30, 30, 40, 40, 0, 0, 10, 10]);
  expect(flat(smoothL1(tf.tensor([[0.5, 3, 0, -2]])))[0]).toBeCloseTo(0.125 + 2.5 + 1.5, 6);
});

/** Point by point, as Mask R-CNN describes it. */
function alignedByHand(
  map: number[][][],
  [x1, y1, x2, y2]: number[],
  stride: number,
  bins: number,
  samples: number,
): number[] {
  const [height, width, channels] = [map.length, map[0]!.length, map[0]![0]!.length];
  const at = (y: number, x: number, c: number): number => {
    const [cy, cx] = [Math.min(height - 1, Math.max(0, y)), Math.min(width - 1, Math.max(0, x))];
    const [fy, fx] = [Math.min(height - 2, Math.floor(cy)), Math.min(width - 2, Math.floor(cx))];
    const [dy, dx] = [cy - fy, cx - fx];
    const row = (r: number): number => map[r]![fx]![c]! * (1 - dx) + map[r]![fx + 1]![c]! * dx;
    return row(fy) * (1 - dy) + row(fy + 1) * dy;
  };
  const out: number[] = [];
  for (let p = 0; p < bins; p++) {
    for (let q = 0; q < bins; q++) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let i = 0; i < samples; i++) {
          for (let j = 0; j < samples; j++) {
            const y = (y1! + ((y2! - y1!) * (p + (i + 0.5) / samples)) / bins) / stride - 0.5;
            const x = (x1! + ((x2! - x1!) * (q + (j + 0.5) / samples)) / bins) / stride - 0.5;
            sum += at(y, x, c);
          }
        }
        out.push(sum / samples ** 2);
      }
    }
  }
  return out;
}

it('RoIAlign is the mean of bilinear samples, natively too, and its gradient that of finite differences', async () => {
  const map = tf.randomNormal([1, 5, 6, 3], 0, 1, 'float32', 4) as tf.Tensor4D;
  const rois = [
    [3, 5, 30, 29],
    [0, 0, 48, 40],
    [10.5, 7.25, 16, 12],
  ];
  const options = { stride: 8, bins: 3, samples: 2 };
  const align = jit((x: tf.Tensor4D, boxes: tf.Tensor) => roiAlign(x, boxes, options));
  const got = flat(await align(map, tf.tensor([rois])));
  const values = (map.arraySync() as number[][][][])[0]!;
  const expected = rois.flatMap((one) => alignedByHand(values, one, 8, 3, 2));
  for (const [i, value] of expected.entries()) expect(got[i]).toBeCloseTo(value, 4);

  const factors = tf.randomNormal([1, 3, 3, 3, 3], 0, 1, 'float32', 5);
  const slope = jit((x: tf.Tensor4D, boxes: tf.Tensor, by: tf.Tensor) =>
    tf.grad((given: tf.Tensor) => tf.sum(tf.mul(roiAlign(given as tf.Tensor4D, boxes, options), by)))(x),
  );
  const gradient = flat(await slope(map, tf.tensor([rois]), factors));
  const weights = flat(factors);
  const plain = flat(map);
  // Linear in the features: a difference of any size is exact.
  for (const place of [0, 17, 40, 62, 89]) {
    const moved = [...plain];
    moved[place]! += 1;
    const changed = tf.tensor4d(moved, [1, 5, 6, 3]).arraySync()[0]!;
    const after = rois.flatMap((one) => alignedByHand(changed, one, 8, 3, 2));
    const difference = after.reduce((sum, value, i) => sum + (value - expected[i]!) * weights[i]!, 0);
    expect(gradient[place]).toBeCloseTo(difference, 3);
  }
  align.dispose();
  slope.dispose();
});

it('average precision is the area under the interpolated curve', () => {
  const truths = [0, 1, 2].map((image) => ({ image, label: 0, box: [0, 0, 10, 10], ignored: false }));
  const at = (image: number, score: number, shift = 0) => ({ image, label: 0, score, box: [shift, 0, 10 + shift, 10] });
  // Right, wrong, right, a second time the same, and one image never found: 1/3 x 1 + 1/3 x 2/3.
  const found = [at(0, 0.9), at(1, 0.8, 8), at(1, 0.7, 1), at(1, 0.6)];
  expect(averagePrecisions(found, truths, 2)[0]).toBeCloseTo(1 / 3 + 2 / 9, 10);
  expect(averagePrecisions(found, truths, 2)[1]).toBeNaN();
  const ignoring = truths.map((truth) => ({ ...truth, ignored: truth.image === 2 }));
  expect(averagePrecisions([at(2, 0.95), ...found], ignoring, 1)[0]).toBeCloseTo(1 / 2 + 1 / 3, 10);
});
