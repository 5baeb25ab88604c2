/** Sentences as rows of word ids of one length, for encoders. */
import type { Vocabulary } from './vocabulary.js';

/** Stand first in the vocabularies of encoders: padding, unknown, the sentence's begin. */
export const SPECIAL_WORDS = ['[PAD]', '[UNK]', '[CLS]'] as const;
const [PAD_ID, UNKNOWN_ID, CLS_ID] = [0, 1, 2];

/** That of [UNK] for a word that `vocabulary`, one with the special words, does not know. */
export function idOf({ ids }: Vocabulary, word: string): number {
  return ids.get(word) ?? UNKNOWN_ID;
}

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
    const ids = [CLS_ID, ...sentence.map((word) => idOf(vocabulary, word))].slice(0, length);
    tokens.set(ids, row * length);
    mask.fill(1, row * length, row * length + ids.length);
  }
  return { tokens, mask };
}
