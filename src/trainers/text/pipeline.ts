/** What comes before and after the vocabulary of each kind of tokenizer, as tokenizer.json says it. */

export const TOKENIZER_KINDS = ['bpe', 'unigram', 'wordpiece', 'word', 'character'] as const;
/**
 * - `bpe`: byte-level, as GPT-2: any text encodes and comes back as it was.
 * - `unigram`: as XLM-R and T5: pieces of words, a space is written with the word that follows it.
 * - `wordpiece`: as BERT: pieces of words and punctuation, those inside a word marked by '##'.
 * - `word`: whole words and punctuation.
 * - `character`: characters, spaces among them.
 */
export type TokenizerKind = (typeof TOKENIZER_KINDS)[number];

export interface Pipeline {
  readonly normalizer: object | null;
  readonly pre_tokenizer: object;
  readonly decoder: object | null;
}

/** The mark of a piece inside a word. */
export const INSIDE = '##';
/** Writes the space before a word. */
const SPACE = '\u2581';

export function pipelineOf(kind: TokenizerKind, lowercase: boolean): Pipeline {
  const composed = { type: 'NFKC' };
  const normalizer = lowercase ? { type: 'Sequence', normalizers: [composed, { type: 'Lowercase' }] } : composed;
  if (kind === 'bpe') {
    const pre_tokenizer = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
    return { normalizer: lowercase ? { type: 'Lowercase' } : null, pre_tokenizer, decoder: { type: 'ByteLevel' } };
  }
  if (kind === 'unigram') {
    const metaspace = { type: 'Metaspace', replacement: SPACE, add_prefix_space: true, prepend_scheme: 'always' };
    // Metaspace of the library does not split by itself (docs/bugs.md).
    const pre_tokenizer = { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] };
    return { normalizer, pre_tokenizer, decoder: metaspace };
  }
  if (kind === 'character') {
    const split = { type: 'Split', pattern: { Regex: '[\\s\\S]' }, behavior: 'Isolated', invert: false };
    return { normalizer, pre_tokenizer: split, decoder: { type: 'Fuse' } };
  }
  // Chinese characters stand apart, as in BERT.
  const bert = {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: false,
    lowercase,
  };
  const decoder = { type: 'WordPiece', prefix: INSIDE, cleanup: true };
  return { normalizer: bert, pre_tokenizer: { type: 'BertPreTokenizer' }, decoder };
}
