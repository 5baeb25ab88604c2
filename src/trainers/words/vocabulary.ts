/** The words of texts and their numbers by frequency. */

export interface Vocabulary {
  /** By id: the special ones, then the most frequent first, ties by code unit. */
  readonly words: readonly string[];
  readonly ids: ReadonlyMap<string, number>;
  /** By id: how often the texts have it; 0 of special ones. */
  readonly counts: Float64Array;
  /** Words of the texts, known or not. */
  readonly numTokens: number;
}

export interface VocabularyOptions {
  /** Words seen less often are left out. Default 1. */
  readonly minCount?: number;
  /** With the special ones. Default: no limit. */
  readonly maxSize?: number;
  /** Words that stand first, whatever the texts have. Default none. */
  readonly special?: readonly string[];
}

/** @param texts words each */
export function makeVocabulary(
  texts: Iterable<readonly string[]>,
  { minCount = 1, maxSize = Number.POSITIVE_INFINITY, special = [] }: VocabularyOptions = {},
): Vocabulary {
  const all = new Map<string, number>();
  let numTokens = 0;
  for (const words of texts) {
    numTokens += words.length;
    for (const word of words) all.set(word, (all.get(word) ?? 0) + 1);
  }
  const kept = [...all]
    .filter(([, count]) => count >= minCount)
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, Math.max(0, maxSize - special.length));
  const entries = [...special.map((word) => [word, 0] as const), ...kept];
  const words = entries.map(([word]) => word);
  return {
    words,
    ids: new Map(words.map((word, id) => [word, id])),
    counts: Float64Array.from(entries, ([, count]) => count),
    numTokens,
  };
}

/** The numbers of the known words. */
export function idsOf(words: readonly string[], { ids }: Vocabulary): number[] {
  return words.flatMap((word) => ids.get(word) ?? []);
}
