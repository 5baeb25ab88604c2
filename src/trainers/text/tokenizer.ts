/** Text to token ids and back, on @huggingface/tokenizers, with batches padded on the right. */
import { Tokenizer } from '@huggingface/tokenizers';
import { MerakError } from '../../errors.js';

/** A batch of sequences of one length, row by row. */
export interface EncodedBatch {
  readonly numSamples: number;
  readonly length: number;
  /** [numSamples, length]; the padding id on the right. */
  readonly tokens: Int32Array;
  /** [numSamples, length]: 1 token, 0 padding. */
  readonly mask: Int32Array;
  /** [numSamples, length]: which text of a pair (0 or 1), as the tokenizer numbers them. */
  readonly segments: Int32Array;
}

export interface TextTokenizer {
  readonly vocabularySize: number;
  readonly padId: number;
  /** The id of a token of the vocabulary, such as '[MASK]'; undefined when there is none. */
  idOf(token: string): number | undefined;
  /** The pieces of a text, without special tokens. */
  pieces(text: string): string[];
  /** With the special tokens around it; the text is cut at its end so that all fit in `maxLength`. */
  encode(text: string, maxLength?: number): number[];
  /** One row a text, or a pair of texts (the longer is cut first), each of `length` tokens. */
  batch(texts: readonly (string | readonly [string, string])[], length: number): EncodedBatch;
  /** Special tokens left out. */
  decode(ids: Iterable<number>): string;
  /** The content of tokenizer.json. */
  readonly json: object;
}

/** What surrounds a text or a pair, as found in the encoding of one. */
interface Frame {
  readonly before: Part;
  readonly between: Part;
  readonly after: Part;
  readonly secondType: number;
}

interface Part {
  readonly ids: readonly number[];
  readonly types: readonly number[];
}

/**
 * @param json the content of tokenizer.json
 * @param config the content of tokenizer_config.json, where there is one
 * @throws MerakError trainer/data when they are none of a tokenizer
 */
export function makeTokenizer(json: object, config: object = {}): TextTokenizer {
  const library = openLibrary(json, config);
  const vocabulary = library.get_vocab();
  const vocabularySize = Math.max(...vocabulary.values()) + 1;
  const raw = (text: string): number[] => library.encode(text, { add_special_tokens: false }).ids;
  const single = frameOf(library, undefined);
  let paired: Frame | undefined;

  const rowOf = (text: string | readonly [string, string], length: number): { ids: number[]; types: number[] } => {
    if (typeof text === 'string') return framed(raw(text), [], single, length);
    paired ??= frameOf(library, PROBE);
    return framed(raw(text[0]), raw(text[1]), paired, length);
  };
  return {
    vocabularySize,
    padId: paddingId(library, json, config),
    idOf: (token) => vocabulary.get(token),
    pieces: (text) => library.tokenize(text, { add_special_tokens: false }),
    encode: (text, maxLength = Number.POSITIVE_INFINITY) => rowOf(text, maxLength).ids,
    batch(texts, length) {
      const padId = paddingId(library, json, config);
      const tokens = new Int32Array(texts.length * length).fill(padId);
      const mask = new Int32Array(texts.length * length);
      const segments = new Int32Array(texts.length * length);
      for (const [row, text] of texts.entries()) {
        const { ids, types } = rowOf(text, length);
        tokens.set(ids, row * length);
        segments.set(types, row * length);
        mask.fill(1, row * length, row * length + ids.length);
      }
      return { numSamples: texts.length, length, tokens, mask, segments };
    },
    decode(ids) {
      const all = [...ids];
      // The library refuses an empty list.
      return all.length === 0 ? '' : library.decode(all, { skip_special_tokens: true });
    },
    json,
  };
}

function openLibrary(json: object, config: object): Tokenizer {
  const { model } = json as { readonly model?: { readonly unk_token?: unknown } };
  try {
    // Word-level models know their unknown token from the second file only (docs/bugs.md).
    return new Tokenizer(json, { unk_token: model?.unk_token, ...config });
  } catch (cause) {
    throw new MerakError('trainer/data', `a tokenizer cannot be used: ${(cause as Error).message}`, {
      path: 'tokenizer.json',
      expected: 'the format of Hugging Face tokenizers',
      cause,
    });
  }
}

/** Any text will do to see what the tokenizer puts around it. */
const PROBE = 'a';

function frameOf(library: Tokenizer, pair: string | undefined): Frame {
  const options = pair === undefined ? {} : { text_pair: pair };
  const { ids, token_type_ids: types } = library.encode(PROBE, { ...options, return_token_type_ids: true });
  const text = library.encode(PROBE, { add_special_tokens: false }).ids;
  const first = placeOf(text, ids, 0);
  const second = pair === undefined ? first : placeOf(text, ids, first + text.length);
  const part = (from: number, to: number): Part => ({ ids: ids.slice(from, to), types: types.slice(from, to) });
  return {
    before: part(0, first),
    between: pair === undefined ? part(0, 0) : part(first + text.length, second),
    after: part(second + text.length, ids.length),
    secondType: types[second] ?? 0,
  };
}

/** Where a sequence stands in another, from a place on. */
function placeOf(part: readonly number[], whole: readonly number[], from: number): number {
  for (let at = from; at + part.length <= whole.length; at++) {
    if (part.every((id, i) => whole[at + i] === id)) return at;
  }
  return from;
}

function framed(first: number[], second: number[], frame: Frame, length: number): { ids: number[]; types: number[] } {
  const { before, between, after, secondType } = frame;
  const room = length - before.ids.length - between.ids.length - after.ids.length;
  if (room < 0) {
    throw new MerakError('config/invalid', 'the length has no room for the special tokens', {
      path: 'length',
      expected: `at least ${length - room}`,
      received: String(length),
    });
  }
  const numFirst = first.length + second.length <= room ? first.length : keptOfFirst(first.length, second.length, room);
  const a = first.slice(0, numFirst);
  const b = second.slice(0, room - numFirst);
  return {
    ids: [...before.ids, ...a, ...between.ids, ...b, ...after.ids],
    types: [...before.types, ...a.map(() => 0), ...between.types, ...b.map(() => secondType), ...after.types],
  };
}

/** Tokens of the first text that stay when the longer of both is cut, token by token, until they fit. */
function keptOfFirst(first: number, second: number, room: number): number {
  const half = Math.ceil(room / 2);
  if (first <= half) return first;
  return second <= room - half ? room - second : half;
}

const PADDING_TOKENS = ['[PAD]', '<pad>', '<|endoftext|>'];

function paddingId(library: Tokenizer, json: object, config: object): number {
  const { padding } = json as { readonly padding?: { readonly pad_id?: number } | null };
  if (padding?.pad_id !== undefined) return padding.pad_id;
  const { pad_token: named } = config as { readonly pad_token?: string | { readonly content?: string } };
  const name = typeof named === 'string' ? named : named?.content;
  for (const token of [...(name === undefined ? [] : [name]), ...PADDING_TOKENS]) {
    const id = library.token_to_id(token);
    if (id !== undefined) return id;
  }
  return 0;
}
