/** Positive pointwise mutual information of words and the words near them. */

export interface CooccurrenceOptions {
  readonly numWords: number;
  /** The so many most frequent words count as context. */
  readonly numContexts: number;
  /** Words to either side; one at distance d counts 1 / d. */
  readonly window: number;
}

/**
 * How often word and context stand near each other, [words, contexts].
 *
 * @param texts word numbers by frequency, so that contexts are the numbers below `numContexts`
 */
export function cooccurrences(texts: readonly (readonly number[])[], options: CooccurrenceOptions): Float32Array {
  const { numWords, numContexts, window } = options;
  const counts = new Float32Array(numWords * numContexts);
  for (const ids of texts) {
    for (let i = 0; i < ids.length; i++) {
      const first = ids[i]!;
      const end = Math.min(ids.length, i + window + 1);
      for (let j = i + 1; j < end; j++) {
        const second = ids[j]!;
        if (second < numContexts) counts[first * numContexts + second]! += 1 / (j - i);
        if (first < numContexts) counts[second * numContexts + first]! += 1 / (j - i);
      }
    }
  }
  return counts;
}

/**
 * max(0, ln p(w, c) / (p(w) p_a(c))) in place of the counts, with p_a(c) proportional to count(c)^a: smoothing of contexts, which
 * lowers what rare contexts get (Levy, Goldberg and Dagan 2015, section 3.1).
 */
export function toPpmi(counts: Float32Array, numWords: number, numContexts: number, smoothing: number): void {
  const rows = new Float64Array(numWords);
  const columns = new Float64Array(numContexts);
  for (let word = 0, at = 0; word < numWords; word++) {
    for (let context = 0; context < numContexts; context++, at++) {
      rows[word]! += counts[at]!;
      columns[context]! += counts[at]!;
    }
  }
  const smoothed = columns.map((count) => count ** smoothing);
  const total = smoothed.reduce((sum, value) => sum + value, 0);
  for (let word = 0, at = 0; word < numWords; word++) {
    for (let context = 0; context < numContexts; context++, at++) {
      const count = counts[at]!;
      if (count > 0) counts[at] = Math.max(0, Math.log((count * total) / (rows[word]! * smoothed[context]!)));
    }
  }
}
