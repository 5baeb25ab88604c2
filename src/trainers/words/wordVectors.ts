/** Word vectors from counts: the leading singular vectors of positive pointwise mutual information. */
import * as tf from '@tensorflow/tfjs';
import { leadingVectors } from '../linear/leadingVectors.js';
import { countPairs, type Document, positiveInformation } from './association.js';

export interface WordVectorOptions {
  readonly numWords: number;
  /** Ids below it are contexts. */
  readonly numContexts: number;
  readonly size: number;
  /** Words to either side; absent: the whole document. */
  readonly window?: number;
  readonly seed: number;
}

/** [numWords, size], orthonormal columns; words without counts have 0 (Levy and Goldberg 2014, section 3.3, power 0). */
export async function wordVectors(documents: Iterable<Document>, options: WordVectorOptions): Promise<tf.Tensor2D> {
  const { numWords, numContexts, size, window, seed } = options;
  const counts = tf.tensor2d(countPairs(documents, numWords, numContexts, window), [numWords, numContexts]);
  const information = await positiveInformation(counts);
  counts.dispose();
  const { vectors } = await leadingVectors(information, { size, seed });
  information.dispose();
  return vectors;
}

/** Rows of the same length, sqrt(size) * deviation; rows of 0 stay. What an embedding table begins with. */
export function asTable(vectors: tf.Tensor2D, deviation: number): tf.Tensor2D {
  return tf.tidy(() => {
    const length = tf.norm(vectors, 'euclidean', 1, true);
    const wanted = deviation * Math.sqrt(vectors.shape[1]);
    return tf.mul<tf.Tensor2D>(vectors, tf.divNoNan(wanted, length));
  });
}
