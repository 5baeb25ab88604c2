/** Random numbers for generated data: tfjs's seeded ones, one at a time. */
import * as tf from '@tensorflow/tfjs';

const CHUNK = 4096;

export interface Draws {
  /** From 0 to 1, without 1. */
  uniform(): number;
  /** A whole number from 0 to `below - 1`. */
  below(below: number): number;
  /** The numbers 0 to `length - 1` in random order. */
  permutation(length: number): Int32Array;
}

/** The same numbers for the same `key`, on every machine. */
export function openDraws(key: string): Draws {
  let chunk: Float32Array = new Float32Array(0);
  let [used, numChunks] = [0, 0];
  const uniform = (): number => {
    if (used === chunk.length) {
      // Typed as a number, but hashed as text.
      const seed = `${key}/${numChunks++}` as unknown as number;
      chunk = tf.tidy(() => tf.randomUniform([CHUNK], 0, 1, 'float32', seed).dataSync() as Float32Array);
      used = 0;
    }
    const value = chunk[used++]!;
    // Rounded to float32 a number just below 1 becomes 1.
    return value < 1 ? value : uniform();
  };
  const below = (limit: number): number => Math.floor(uniform() * limit);
  return {
    uniform,
    below,
    permutation(length) {
      const order = Int32Array.from({ length }, (_, i) => i);
      for (let i = length - 1; i > 0; i--) {
        const j = below(i + 1);
        [order[i], order[j]] = [order[j]!, order[i]!];
      }
      return order;
    },
  };
}
