/** What each phase trains on: images with the boxes that count, and the supports of every step. */
import * as tf from '@tensorflow/tfjs';
import { type BatchSource, type HostBatch, jit, MerakError } from '../../index.js';
import type { AnnotatedImage, BoxedObject } from '../vision/annotations.js';
import { generator, shuffled } from './random.js';

/** A support image's box is so much of its side. */
const SUPPORT_CONTEXT = 1.2;

export interface Episode {
  readonly images: readonly AnnotatedImage[];
  readonly labels: readonly number[];
}

/** Base classes count with all their boxes; those of other classes are left alone. */
export function baseEpisode(images: readonly AnnotatedImage[], labels: readonly number[]): Episode {
  const seen = images.map((image) => only(image, (object) => labels.includes(object.label)));
  return { images: seen.filter(hasObjects), labels };
}

/**
 * `shots` boxes of every class, drawn at random; other boxes of the same images are left alone.
 * @throws MerakError trainer/data: a class has too few
 */
export function fewShotEpisode(
  images: readonly AnnotatedImage[],
  labels: readonly number[],
  { shots, seed, classes, path }: { shots: number; seed: number; classes: readonly string[]; path: string },
): Episode {
  const random = generator(`shots/${seed}`);
  const chosen = new Set<BoxedObject>();
  for (const label of labels) {
    const own = images.flatMap(({ objects }) => objects.filter((one) => one.label === label && !one.ignored));
    if (own.length < shots) {
      throw new MerakError('trainer/data', `class '${classes[label]}' has too few boxes`, {
        path,
        expected: `${shots} (shots)`,
        received: String(own.length),
      });
    }
    for (const object of shuffled(own, random).slice(0, shots)) chosen.add(object);
  }
  return { images: images.map((image) => only(image, (object) => chosen.has(object))).filter(hasObjects), labels };
}

function only(image: AnnotatedImage, counts: (object: BoxedObject) => boolean): AnnotatedImage {
  return {
    ...image,
    objects: image.objects.map((object) => ({ ...object, ignored: object.ignored || !counts(object) })),
  };
}

function hasObjects({ objects }: AnnotatedImage): boolean {
  return objects.some(({ ignored }) => !ignored);
}

/** Support images by label: every counted box of the episode, cut out with its surroundings, side x side x 3. */
export type Supports = ReadonlyMap<number, readonly Float32Array[]>;

export async function cutSupports({ images, labels }: Episode, side: number): Promise<Supports> {
  const cut = jit((image: tf.Tensor4D, boxes: tf.Tensor2D, from: tf.Tensor1D) =>
    tf.image.cropAndResize(image, boxes, from, [side, side]),
  );
  const supports = new Map<number, Float32Array[]>(labels.map((label) => [label, []]));
  try {
    for (const image of images) {
      const objects = image.objects.filter(({ ignored }) => !ignored);
      const pixels = tf.tensor4d(unit(image.pixels), [1, image.height, image.width, 3]);
      const boxes = tf.tensor2d(objects.map(({ box }) => withContext(box, image)));
      const from = tf.zeros([objects.length], 'int32') as tf.Tensor1D;
      const crops = await cut(pixels, boxes, from);
      const data = (await crops.data()) as Float32Array;
      const size = side * side * 3;
      for (const [i, { label }] of objects.entries()) supports.get(label)!.push(data.slice(i * size, (i + 1) * size));
      tf.dispose([pixels, boxes, from, crops]);
    }
  } finally {
    cut.dispose();
  }
  return supports;
}

/** As y1, x1, y2, x2 in fractions of the image, a little larger than the box. */
function withContext([x1, y1, x2, y2]: BoxedObject['box'], { width, height }: AnnotatedImage): number[] {
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  const [halfWidth, halfHeight] = [((x2 - x1) / 2) * SUPPORT_CONTEXT, ((y2 - y1) / 2) * SUPPORT_CONTEXT];
  const across = (value: number): number => Math.min(1, Math.max(0, value / (width - 1)));
  const down = (value: number): number => Math.min(1, Math.max(0, value / (height - 1)));
  return [down(y - halfHeight), across(x - halfWidth), down(y + halfHeight), across(x + halfWidth)];
}

export function unit(pixels: Uint8Array): Float32Array {
  return Float32Array.from(pixels, (value) => value / 255);
}

export interface EpisodeOptions {
  readonly batchSize: number;
  readonly steps: number;
  readonly supportSize: number;
  /** True boxes a sample has room for. */
  readonly maxObjects: number;
  /** Keys the order of images and supports, by step. */
  readonly key: string;
}

/** Batches of an episode: images at random, one support of every class per step or a few more, spread over the samples. */
export function episodeSource(episode: Episode, supports: Supports, options: EpisodeOptions): BatchSource {
  const { batchSize, steps, supportSize, maxObjects, key } = options;
  const { images, labels } = episode;
  const [{ width, height }] = images as [AnnotatedImage];
  const perSample = Math.ceil(labels.length / batchSize);
  const pixels = images.map((image) => unit(image.pixels));
  return {
    fields: [
      { name: 'image', shape: [height, width, 3], dtype: 'float32' },
      { name: 'boxes', shape: [maxObjects, 4], dtype: 'float32' },
      { name: 'labels', shape: [maxObjects], dtype: 'int32' },
      { name: 'present', shape: [maxObjects], dtype: 'float32' },
      { name: 'ignored', shape: [maxObjects], dtype: 'float32' },
      { name: 'supports', shape: [perSample, supportSize, supportSize, 3], dtype: 'float32' },
      { name: 'supportLabels', shape: [perSample], dtype: 'int32' },
    ],
    batchSize,
    numBatches: steps,
    async batch(epoch, index): Promise<HostBatch | null> {
      if (index >= steps) return null;
      const random = generator(`${key}/${epoch}/${index}`);
      const size = supportSize * supportSize * 3;
      const fields = {
        image: new Float32Array(batchSize * width * height * 3),
        boxes: new Float32Array(batchSize * maxObjects * 4),
        labels: new Int32Array(batchSize * maxObjects),
        present: new Float32Array(batchSize * maxObjects),
        ignored: new Float32Array(batchSize * maxObjects),
        supports: new Float32Array(batchSize * perSample * size),
        supportLabels: new Int32Array(batchSize * perSample),
      };
      for (let i = 0; i < batchSize; i++) {
        const place = Math.floor(random() * images.length);
        fields.image.set(pixels[place]!, i * width * height * 3);
        for (const [j, { box, label, ignored }] of images[place]!.objects.entries()) {
          const at = i * maxObjects + j;
          fields.boxes.set(box, 4 * at);
          fields.labels[at] = label;
          fields.present[at] = Number(!ignored);
          fields.ignored[at] = Number(ignored);
        }
      }
      const order = shuffled(labels, random);
      for (let i = 0; i < batchSize * perSample; i++) {
        const label = order[i % order.length]!;
        const own = supports.get(label)!;
        fields.supports.set(own[Math.floor(random() * own.length)]!, i * size);
        fields.supportLabels[i] = label;
      }
      return { size: batchSize, fields: new Map(Object.entries(fields)) };
    },
  };
}
