/** A trained detector on the test images: detections with class-mean prototypes, AP50 by class. */
import * as tf from '@tensorflow/tfjs';
import { jit } from '../../index.js';
import type { AnnotatedImage } from '../vision/annotations.js';
import { averagePrecisions, type Detection, type Truth } from '../vision/averagePrecision.js';
import type { Detector } from './detector.js';
import { type Supports, unit } from './episodes.js';

const MIN_SCORE = 0.02;
const IMAGES_AT_ONCE = 20;
/** Supports a prototype is the mean of. */
const MAX_SUPPORTS = 20;

export interface Measured {
  readonly detections: readonly Detection[];
  /** By label; NaN where the test images have none. */
  readonly precisions: readonly number[];
}

export async function measure(
  detector: Detector,
  supports: Supports,
  images: readonly AnnotatedImage[],
  { numClasses, supportSize }: { numClasses: number; supportSize: number },
): Promise<Measured> {
  const embed = jit((crops: tf.Tensor) => tf.mean(detector.prototypes(crops), 0));
  const detect = jit(detector.detect);
  const rows: tf.Tensor[] = [];
  const detections: Detection[] = [];
  try {
    for (let label = 0; label < numClasses; label++) {
      const own = (supports.get(label) ?? []).slice(0, MAX_SUPPORTS);
      const crops = tf.stack(own.map((crop) => tf.tensor3d(crop, [supportSize, supportSize, 3])));
      rows.push(await embed(crops));
      crops.dispose();
    }
    const prototypes = tf.stack(rows);
    for (let begin = 0; begin < images.length; begin += IMAGES_AT_ONCE) {
      const part = images.slice(begin, begin + IMAGES_AT_ONCE);
      const batch = tf.stack(part.map(({ pixels, height, width }) => tf.tensor3d(unit(pixels), [height, width, 3])));
      const found = await detect(batch, prototypes);
      const scores = (await found.scores.array()) as number[][][];
      const boxes = (await found.boxes.array()) as number[][][][];
      for (const [i, byClass] of scores.entries()) {
        for (const [label, own] of byClass.entries()) {
          for (const [r, score] of own.entries()) {
            if (score >= MIN_SCORE) detections.push({ image: begin + i, label, score, box: boxes[i]![label]![r]! });
          }
        }
      }
      tf.dispose([batch, found.boxes, found.scores]);
    }
    prototypes.dispose();
  } finally {
    tf.dispose(rows);
    embed.dispose();
    detect.dispose();
  }
  const truths = images.flatMap(({ objects }, image): Truth[] => objects.map((object) => ({ image, ...object })));
  return { detections, precisions: averagePrecisions(detections, truths, numClasses) };
}

/** Over the classes that have test boxes. */
export function meanPrecision(precisions: readonly (number | null)[], labels: readonly number[]): number {
  const known = labels.map((label) => precisions[label]).filter((one): one is number => Number.isFinite(one));
  return known.reduce((sum, one) => sum + one, 0) / known.length;
}
