/** Words of Western text, and their numbers by frequency. */

/** Runs of letters and digits in lower case. */
export function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

export interface Vocabulary {
  /** The most frequent first, ties by code unit. */
  readonly words: readonly string[];
  /** Of each word, in the texts it was made of. */
  readonly counts: Float64Array;
  readonly ids: ReadonlyMap<string, number>;
  /** Words of the texts, known or not. */
  readonly numTokens: number;
}

export function makeVocabulary(texts: readonly (readonly string[])[], minCount: number): Vocabulary {
  const all = new Map<string, number>();
  let numTokens = 0;
  for (const words of texts) {
    numTokens += words.length;
    for (const word of words) all.set(word, (all.get(word) ?? 0) + 1);
  }
  const kept = [...all].filter(([, n]) => n >= minCount).sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  const words = kept.map(([word]) => word);
  return {
    words,
    counts: Float64Array.from(kept, ([, n]) => n),
    ids: new Map(words.map((word, id) => [word, id])),
    numTokens,
  };
}

/** The numbers of the known words. */
export function idsOf(words: readonly string[], { ids }: Vocabulary): number[] {
  return words.flatMap((word) => ids.get(word) ?? []);
}
