/** Words of text in any language, and a vocabulary of them. */

export const PAD_ID = 0;
export const UNKNOWN_ID = 1;
export const CLS_ID = 2;
const NUM_SPECIAL = 3;

/** A number, a Chinese character, a run of letters, or one sign of anything else, in lower case (NFC). */
const WORD = /\p{Script=Han}|[\p{L}\p{M}]+|\p{N}+|[^\s\p{L}\p{M}\p{N}]/gu;

export function wordsOf(text: string): string[] {
  return text.normalize('NFC').toLowerCase().match(WORD)?.flatMap(splitHan) ?? [];
}

function splitHan(word: string): string[] {
  return /\p{Script=Han}/u.test(word) ? [...word] : [word];
}

export interface Vocabulary {
  /** By id; the first three are padding, unknown and the sentence's begin. The most frequent first, ties by code point. */
  readonly words: readonly string[];
  idOf(word: string): number;
}

/** @param sentences words each */
export function makeVocabulary(
  sentences: Iterable<readonly string[]>,
  { minCount = 1, maxSize = Number.POSITIVE_INFINITY }: { readonly minCount?: number; readonly maxSize?: number } = {},
): Vocabulary {
  const counts = new Map<string, number>();
  for (const sentence of sentences) for (const word of sentence) counts.set(word, (counts.get(word) ?? 0) + 1);
  const kept = [...counts]
    .filter(([, count]) => count >= minCount)
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, Math.max(0, maxSize - NUM_SPECIAL));
  const words = ['[PAD]', '[UNK]', '[CLS]', ...kept.map(([word]) => word)];
  const ids = new Map(words.map((word, id) => [word, id]));
  return { words, idOf: (word) => ids.get(word) ?? UNKNOWN_ID };
}

/** Sentences as rows of one length. */
export interface EncodedSentences {
  /** [n, length] int32. */
  readonly tokens: Int32Array;
  /** [n, length] int32: 1 token, 0 padding. */
  readonly mask: Int32Array;
}

/** Begins each with [CLS], cuts it to `length`, pads it on the right. */
export function encodeSentences(
  vocabulary: Vocabulary,
  sentences: readonly (readonly string[])[],
  length: number,
): EncodedSentences {
  const tokens = new Int32Array(sentences.length * length).fill(PAD_ID);
  const mask = new Int32Array(tokens.length);
  for (const [row, sentence] of sentences.entries()) {
    const ids = [CLS_ID, ...sentence.map(vocabulary.idOf)].slice(0, length);
    tokens.set(ids, row * length);
    mask.fill(1, row * length, row * length + ids.length);
  }
  return { tokens, mask };
}
