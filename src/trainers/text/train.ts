/** Makes a tokenizer from text. @huggingface/tokenizers runs tokenizers but trains none; what is made here is its tokenizer.json. */
import { Tokenizer } from '@huggingface/tokenizers';
import { MerakError } from '../../errors.js';
import { byteAlphabet } from './byteAlphabet.js';
import { mergePairs } from './mergePairs.js';
import { INSIDE, pipelineOf, TOKENIZER_KINDS, type TokenizerKind } from './pipeline.js';
import { makeTokenizer, type TextTokenizer } from './tokenizer.js';
import { trainUnigram } from './unigram.js';

export interface TrainTokenizerOptions {
  readonly kind: TokenizerKind;
  /** Tokens at most, special ones among them. */
  readonly vocabularySize: number;
  /** Default false. */
  readonly lowercase?: boolean;
  /** Pairs, words and characters seen less often make no token. Default 2; of characters 1. */
  readonly minCount?: number;
}

/** The special tokens, by their ids. */
export const SPECIAL_TOKENS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] as const;
const UNKNOWN = SPECIAL_TOKENS[1];
const UNKNOWN_ID = 1;

type Counts = ReadonlyMap<string, number>;

/**
 * A tokenizer of a kind, trained on texts; the same texts give the same tokenizer. Sequences become `[CLS] a [SEP]`, pairs
 * `[CLS] a [SEP] b [SEP]`.
 *
 * @throws MerakError config/invalid: an unknown kind, or a size that holds less than the special tokens and the alphabet
 * @example
 * const tokenizer = merak.text.trainTokenizer(sentences, { kind: 'unigram', vocabularySize: 8000 });
 * tokenizer.encode('a new sentence');
 */
export function trainTokenizer(texts: Iterable<string>, options: TrainTokenizerOptions): TextTokenizer {
  const { kind, vocabularySize, lowercase = false, minCount } = options;
  if (!TOKENIZER_KINDS.includes(kind)) throw refuse('kind', TOKENIZER_KINDS.join(', '), kind);
  const pipeline = pipelineOf(kind, lowercase);
  const words = countWords(texts, pipeline);
  if (words.size === 0) throw refuse('texts', 'a text that is not empty', 'none');
  const room = vocabularySize - SPECIAL_TOKENS.length;
  const model = TRAINERS[kind](words, room, minCount);
  return makeTokenizer({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    ...pipeline,
    post_processor: postProcessor(),
    model,
  });
}

/** Trains the model of each kind. */
const TRAINERS: Readonly<Record<TokenizerKind, (words: Counts, room: number, minCount?: number) => object>> = {
  bpe(words, room, minCount = 2) {
    const alphabet = byteAlphabet();
    checkRoom(room, alphabet.length);
    const split = [...words].map(([word, count]) => ({ symbols: [...word], count }));
    const join = (left: string, right: string): string => left + right;
    const merges = mergePairs(split, { maxMerges: room - alphabet.length, minCount, join });
    const vocab = vocabularyOf([...alphabet, ...merges.map(({ merged }) => merged)]);
    const pairs = merges.map(({ left, right }) => [left, right]);
    return { type: 'BPE', dropout: null, unk_token: null, vocab, merges: pairs, ...SUBWORD_DEFAULTS };
  },
  unigram(words, room) {
    checkRoom(room, charactersOf(words).length);
    const special = SPECIAL_TOKENS.map((token): [string, number] => [token, 0]);
    return { type: 'Unigram', unk_id: UNKNOWN_ID, vocab: [...special, ...trainUnigram(words, room)] };
  },
  wordpiece(words, room, minCount = 2) {
    const marked = [...words].map(([word, count]) => ({
      symbols: [...word].map((character, i) => (i === 0 ? character : INSIDE + character)),
      count,
    }));
    const alphabet = [...new Set(marked.flatMap(({ symbols }) => symbols))].sort();
    checkRoom(room, alphabet.length);
    const join = (left: string, right: string): string => left + right.slice(INSIDE.length);
    const merges = mergePairs(marked, { maxMerges: room - alphabet.length, minCount, join });
    // Two ways to the same piece are one token.
    const tokens = [...new Set([...alphabet, ...merges.map(({ merged }) => merged)])];
    return wordPieceModel(tokens);
  },
  word: (words, room, minCount = 2) => wordPieceModel(mostFrequent(words, room, minCount)),
  character: (words, room, minCount = 1) => wordPieceModel(mostFrequent(words, room, minCount)),
};

const SUBWORD_DEFAULTS = {
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
};

function wordPieceModel(tokens: readonly string[]): object {
  const vocab = vocabularyOf(tokens);
  return {
    type: 'WordPiece',
    unk_token: UNKNOWN,
    continuing_subword_prefix: INSIDE,
    max_input_chars_per_word: 100,
    vocab,
  };
}

/** Pre-tokens and how often they occur, by the library's own normalizer and pre-tokenizer. */
function countWords(texts: Iterable<string>, pipeline: ReturnType<typeof pipelineOf>): Counts {
  const library = new Tokenizer({ added_tokens: [], post_processor: null, ...pipeline, model: wordPieceModel([]) }, {});
  const counts = new Map<string, number>();
  for (const text of texts) {
    const normalized = library.normalizer?.normalize(text) ?? text;
    for (const word of library.pre_tokenizer?.pre_tokenize(normalized) ?? [normalized]) {
      counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  return counts;
}

/** Ties in code-unit order. */
function mostFrequent(words: Counts, size: number, minCount: number): string[] {
  checkRoom(size, 1);
  return [...words]
    .filter(([, count]) => count >= minCount)
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, size)
    .map(([word]) => word);
}

function charactersOf(words: Counts): string[] {
  return [...new Set([...words.keys()].flatMap((word) => [...word]))];
}

function vocabularyOf(tokens: readonly string[]): Record<string, number> {
  return Object.fromEntries([...SPECIAL_TOKENS, ...tokens].map((token, id) => [token, id]));
}

function postProcessor(): object {
  const [, , begin, end] = SPECIAL_TOKENS;
  const token = (id: string, type_id: number) => ({ SpecialToken: { id, type_id } });
  const text = (id: 'A' | 'B', type_id: number) => ({ Sequence: { id, type_id } });
  return {
    type: 'TemplateProcessing',
    single: [token(begin, 0), text('A', 0), token(end, 0)],
    pair: [token(begin, 0), text('A', 0), token(end, 0), text('B', 1), token(end, 1)],
    special_tokens: Object.fromEntries(
      [begin, end].map((name) => [name, { id: name, ids: [SPECIAL_TOKENS.indexOf(name)], tokens: [name] }]),
    ),
  };
}

function checkRoom(room: number, alphabetSize: number): void {
  if (room >= alphabetSize) return;
  const least = alphabetSize + SPECIAL_TOKENS.length;
  throw refuse(
    'vocabularySize',
    `at least ${least}: the special tokens and the alphabet`,
    room + SPECIAL_TOKENS.length,
  );
}

function refuse(path: string, expected: string, received: unknown): MerakError {
  const message = `a tokenizer cannot be trained: ${path} is not valid`;
  return new MerakError('config/invalid', message, { path, expected, received: String(received) });
}
