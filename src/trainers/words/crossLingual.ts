/** Word vectors of several languages in one space, from rows of translations: PPMI with shared contexts, truncated SVD. */
import * as tf from '@tensorflow/tfjs';
import type { TrainerContext } from '../context.js';
import { toPpmi } from '../wordVectors/ppmi.js';
import { truncatedSvd } from '../wordVectors/truncatedSvd.js';

/** Word ids, and the ids of the context words they are counted with; translations share their contexts. */
export interface Document {
  readonly words: readonly number[];
  readonly contexts: readonly number[];
}

export interface CrossLingualOptions {
  readonly numWords: number;
  /** Ids below it are contexts. */
  readonly numContexts: number;
  readonly size: number;
  readonly seed: number;
}

/** As in the word vectors of one language (Levy, Goldberg and Dagan 2015, section 3.1). */
const SMOOTHING = 0.75;
const OVERSAMPLING = 12;
const ITERATIONS = 6;
/** Root mean square of a row of an embedding table. */
const TABLE_DEVIATION = 0.1;

/**
 * A decomposition turns rounding into rotations wherever two values lie close, and training goes another way from there: what a
 * gradient recipe begins with is computed by one worker in every layout, so that it is the same to the bit.
 */
export function inOneWorker<Context extends Pick<TrainerContext, 'spmd'>>(context: Context): Context {
  return { ...context, spmd: (options) => context.spmd({ ...options, alone: true }) };
}

/**
 * An embedding table [numWords, size]: the leading left singular vectors, rows of one length; rows of words that stand with no
 * context, and columns beyond the rank, are 0. `name` is what the run's state calls the iteration.
 */
export async function crossLingualTable(
  context: Pick<TrainerContext, 'iterate' | 'spmd'>,
  name: string,
  documents: Iterable<Document>,
  { numWords, numContexts, size, seed }: CrossLingualOptions,
): Promise<tf.Tensor2D> {
  const data = countTogether(documents, numWords, numContexts);
  toPpmi(data, numWords, numContexts, SMOOTHING);
  const problem = { data, rows: numWords, columns: numContexts };
  const settings = { numComponents: size, oversampling: OVERSAMPLING, iterations: ITERATIONS, power: 0, seed };
  const { left, values } = await truncatedSvd(context, name, problem, settings);
  const width = values.length;
  return tf.tidy(() => {
    const vectors = tf.pad(tf.tensor2d(left, [numWords, width]), [
      [0, 0],
      [0, size - width],
    ]);
    const length = tf.norm(vectors, 'euclidean', 1, true);
    return tf.mul<tf.Tensor2D>(vectors, tf.divNoNan(TABLE_DEVIATION * Math.sqrt(size), length));
  });
}

/**
 * [numWords, numContexts]: how often a word and a context are of one document. Where both are the same list, a place does not
 * count with itself.
 */
export function countTogether(documents: Iterable<Document>, numWords: number, numContexts: number): Float32Array {
  const counts = new Float32Array(numWords * numContexts);
  for (const { words, contexts } of documents) {
    for (const [i, word] of words.entries()) {
      for (const [j, context] of contexts.entries()) {
        if (context < numContexts && !(words === contexts && i === j)) counts[word * numContexts + context]! += 1;
      }
    }
  }
  return counts;
}
