/** Which words go with which: positive pointwise mutual information from co-occurrence counts. */
import * as tf from '@tensorflow/tfjs';
import { jit } from '../../index.js';

/** Word ids, and the ids of the context words they are counted with. */
export interface Document {
  readonly words: readonly number[];
  readonly contexts: readonly number[];
}

/** Context distribution smoothing, Levy et al. 2015, section 3.1. */
const SMOOTHING = 0.75;

/**
 * Counts [numWords, numContexts]: a word with every context of its document, or, where `window` is given and both are the
 * same list, with those at most `window` words away, each by 1 / distance. Ids from numContexts on are no contexts; a word does not
 * go with itself in the same place.
 */
export function countPairs(
  documents: Iterable<Document>,
  numWords: number,
  numContexts: number,
  window?: number,
): Float32Array {
  const counts = new Float32Array(numWords * numContexts);
  for (const { words, contexts } of documents) {
    for (const [i, word] of words.entries()) {
      const begin = window === undefined ? 0 : Math.max(0, i - window);
      const end = window === undefined ? contexts.length : Math.min(contexts.length, i + window + 1);
      for (let j = begin; j < end; j++) {
        const context = contexts[j]!;
        if (context >= numContexts || (words === contexts && i === j)) continue;
        const at = word * numContexts + context;
        counts[at] = counts[at]! + (window === undefined ? 1 : 1 / Math.abs(i - j));
      }
    }
  }
  return counts;
}

/** max(0, log p(w, c) / (p(w) p(c)^0.75 normalised)) of counts [V, C]; rows without counts are 0. */
export async function positiveInformation(counts: tf.Tensor2D): Promise<tf.Tensor2D> {
  const compute = jit((n: tf.Tensor2D) => {
    const rows = n.sum(1, true);
    const columns = n.sum(0, true).pow(SMOOTHING);
    const expected = rows.mul(columns.div(columns.sum()));
    return tf.relu(tf.log(tf.maximum(tf.div(n, tf.maximum(expected, 1e-12)), 1e-6))) as tf.Tensor2D;
  });
  try {
    return (await compute(counts)) as tf.Tensor2D;
  } finally {
    compute.dispose();
  }
}
