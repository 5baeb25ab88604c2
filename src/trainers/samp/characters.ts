/** A vocabulary of characters as a tokenizer.json, which the recipe and `merak predict` read alike. */
import { openTokenizer } from '../../index.js';

export const PAD_ID = 0;
const UNKNOWN_ID = 1;

/** Characters seen at least `minCount` times, the most frequent first (ties by code point). */
export function characterTokenizer(texts: readonly string[], minCount = 2): object {
  const counts = new Map<string, number>();
  for (const text of texts) for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1);
  const kept = [...counts]
    .filter(([character, count]) => count >= minCount && character.trim() !== '')
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  const vocab: Record<string, number> = { '[PAD]': PAD_ID, '[UNK]': UNKNOWN_ID };
  for (const [index, [character]] of kept.entries()) vocab[character] = index + 2;
  const special = (id: number, content: string) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [special(PAD_ID, '[PAD]'), special(UNKNOWN_ID, '[UNK]')],
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'WhitespaceSplit' },
        { type: 'Split', pattern: { Regex: '.' }, behavior: 'Isolated', invert: false },
      ],
    },
    post_processor: null,
    decoder: null,
    model: { type: 'WordLevel', vocab, unk_token: '[UNK]' },
  };
}

/** Ids 0 to `size - 1`. */
export function vocabularySize(tokenizer: object): number {
  const { model } = tokenizer as { readonly model: { readonly vocab: Readonly<Record<string, number>> } };
  return Object.keys(model.vocab).length;
}

/** Rows of `length` ids, cut or padded, and 1 where there is a character. */
export function encode(
  tokenizer: object,
  texts: readonly string[],
  length: number,
): { readonly tokens: Int32Array; readonly mask: Int32Array } {
  const encoder = openTokenizer(tokenizer);
  const tokens = new Int32Array(texts.length * length).fill(PAD_ID);
  const mask = new Int32Array(texts.length * length);
  for (const [row, text] of texts.entries()) {
    const ids = encoder.encode(text, { add_special_tokens: false }).ids.slice(0, length);
    tokens.set(ids, row * length);
    mask.fill(1, row * length, row * length + ids.length);
  }
  return { tokens, mask };
}
