/** Tokenizers: trained ones by hand-made corpora and by their laws, loaded ones as Hugging Face writes them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { text } from '../../../src/index.js';
import { byteAlphabet } from '../../../src/trainers/text/byteAlphabet.js';
import { mergePairs } from '../../../src/trainers/text/mergePairs.js';
import { trainUnigram } from '../../../src/trainers/text/unigram.js';

const CORPUS = [
  'the low lower lowest river flows slowly',
  'a new newer newest boat follows the river',
  'die neue Brücke über den Fluss, die neuen Boote',
  '果蔬保鲜技术进展探索 果蔬技术',
  'the widest river, the newest boat; the lowest bridge!',
];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-tokenizers-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('training', () => {
  it('merges as a slow count of all pairs does', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 7 });
    const corpus = fc.array(fc.tuple(letters, fc.integer({ min: 1, max: 5 })), { minLength: 1, maxLength: 8 });
    const slowly = (words: [string, number][], maxMerges: number): string[] => {
      let texts = words.map(([word, count]) => ({ symbols: [...word], count }));
      const made: string[] = [];
      while (made.length < maxMerges) {
        const counts = new Map<string, number>();
        for (const { symbols, count } of texts) {
          symbols.slice(1).forEach((symbol, i) => {
            const key = `${symbols[i]} ${symbol}`;
            counts.set(key, (counts.get(key) ?? 0) + count);
          });
        }
        const [best] = [...counts].filter(([, count]) => count >= 2).sort(([a, x], [b, y]) => y - x || order(a, b));
        if (best === undefined) break;
        made.push(best[0]);
        const [left, right] = best[0].split(' ') as [string, string];
        texts = texts.map(({ symbols, count }) => {
          const out: string[] = [];
          for (let i = 0; i < symbols.length; i++) {
            if (symbols[i] === left && symbols[i + 1] === right) {
              out.push(left + right);
              i++;
            } else out.push(symbols[i]!);
          }
          return { symbols: out, count };
        });
      }
      return made;
    };
    // As the trainer orders keys: with a separator below every character.
    const order = (a: string, b: string) => (a.replace(' ', '\0') < b.replace(' ', '\0') ? -1 : 1);
    fc.assert(
      fc.property(corpus, (words) => {
        const split = words.map(([word, count]) => ({ symbols: [...word], count }));
        const merges = mergePairs(split, { maxMerges: 6, minCount: 2, join: (a, b) => a + b });
        expect(merges.map(({ left, right }) => `${left} ${right}`)).toEqual(slowly(words, 6));
      }),
    );
  });

  it('byte-level BPE gives any text back', () => {
    expect(new Set(byteAlphabet()).size).toBe(256);
    const tokenizer = text.trainTokenizer(CORPUS, { kind: 'bpe', vocabularySize: 320 });
    expect(tokenizer.vocabularySize).toBeLessThanOrEqual(320);
    expect(tokenizer.pieces('the river').length).toBeLessThan('the river'.length);
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (given) => {
        fc.pre(!/\[(PAD|UNK|CLS|SEP|MASK)\]/.test(given));
        expect(tokenizer.decode(tokenizer.encode(given))).toBe(given);
      }),
      { numRuns: 50 },
    );
  });

  it('a unigram model is a distribution that finds what repeats', () => {
    const words = new Map([
      ['banana', 10],
      ['bandana', 10],
      ['ban', 20],
      ['nab', 1],
    ]);
    const pieces = trainUnigram(words, 9);
    expect(pieces.length).toBeGreaterThan(5);
    expect(pieces.length).toBeLessThanOrEqual(9);
    expect(pieces.reduce((sum, [, score]) => sum + Math.exp(score), 0)).toBeCloseTo(1, 9);
    expect(pieces.map(([piece]) => piece)).toEqual(expect.arrayContaining(['a', 'b', 'd', 'n', 'ban']));
    expect(pieces[0]![0]).toBe('ban');
  });

  it.each(text.TOKENIZER_KINDS)('%s: small, the same each time, and read back from its file', async (kind) => {
    const options = { kind, vocabularySize: kind === 'bpe' ? 300 : 120, lowercase: true } as const;
    const tokenizer = text.trainTokenizer(CORPUS, options);
    expect(text.trainTokenizer(CORPUS, options).json).toEqual(tokenizer.json);
    expect(tokenizer.vocabularySize).toBeLessThanOrEqual(options.vocabularySize);
    expect(text.SPECIAL_TOKENS.map((token) => tokenizer.idOf(token))).toEqual([0, 1, 2, 3, 4]);
    const file = join(folder, `${kind}.json`);
    await text.saveTokenizer(file, tokenizer);
    const loaded = await text.loadTokenizer(file);
    for (const line of CORPUS) {
      const ids = tokenizer.encode(line);
      expect(loaded.encode(line)).toEqual(ids);
      expect([ids[0], ids.at(-1)]).toEqual([2, 3]);
      if (kind !== 'word') expect(ids).not.toContain(1);
    }
    const again = tokenizer.decode(tokenizer.encode('the river'));
    expect(again).toBe('the river');
  });

  it('cuts words where the pieces are known, and keeps characters of any script', () => {
    const wordpiece = text.trainTokenizer(CORPUS, { kind: 'wordpiece', vocabularySize: 150 });
    expect(wordpiece.pieces('lowest')[0]).toMatch(/^low/);
    expect(
      wordpiece
        .pieces('lowest')
        .slice(1)
        .every((piece) => piece.startsWith('##')),
    ).toBe(true);
    const word = text.trainTokenizer(CORPUS, { kind: 'word', vocabularySize: 40 });
    expect(word.pieces('the river, unseen')).toEqual(['the', 'river', ',', '[UNK]']);
    const character = text.trainTokenizer(CORPUS, { kind: 'character', vocabularySize: 100 });
    expect(character.pieces('果 蔬é')).toEqual(['果', ' ', '蔬', '[UNK]']);
  });

  it('refuses a size that holds no alphabet, and a kind there is not', () => {
    const train = (options: object) => () => text.trainTokenizer(CORPUS, options as text.TrainTokenizerOptions);
    expect(train({ kind: 'bpe', vocabularySize: 200 })).toThrow(
      expect.objectContaining({ expected: expect.stringContaining('at least 261') }),
    );
    expect(train({ kind: 'wordpeace', vocabularySize: 200 })).toThrow(
      expect.objectContaining({ code: 'config/invalid' }),
    );
    expect(() => text.trainTokenizer([], { kind: 'word', vocabularySize: 10 })).toThrow(
      expect.objectContaining({ code: 'config/invalid' }),
    );
  });
});

describe('batches', () => {
  const tokenizer = text.trainTokenizer(CORPUS, { kind: 'word', vocabularySize: 60, minCount: 1 });
  const idsOf = (...words: string[]) => words.map((word) => tokenizer.idOf(word));

  it('pad on the right and cut at the end, special tokens kept', () => {
    const { tokens, mask } = tokenizer.batch(['the river', 'the low lower lowest river flows slowly'], 5);
    expect([...tokens]).toEqual([
      ...idsOf('[CLS]', 'the', 'river', '[SEP]', '[PAD]'),
      ...idsOf('[CLS]', 'the', 'low', 'lower', '[SEP]'),
    ]);
    expect([...mask]).toEqual([1, 1, 1, 1, 0, 1, 1, 1, 1, 1]);
  });

  it('pairs have segments; the longer text is cut first', () => {
    const { tokens, segments } = tokenizer.batch([['the', 'low lower lowest river flows']], 8);
    expect([...tokens]).toEqual(idsOf('[CLS]', 'the', '[SEP]', 'low', 'lower', 'lowest', 'river', '[SEP]'));
    expect([...segments]).toEqual([0, 0, 0, 1, 1, 1, 1, 1]);
    const even = tokenizer.batch([['low lower lowest', 'river flows slowly']], 7);
    expect([...even.tokens]).toEqual(idsOf('[CLS]', 'low', 'lower', '[SEP]', 'river', 'flows', '[SEP]'));
    expect(() => tokenizer.batch([['a', 'b']], 2)).toThrow(expect.objectContaining({ code: 'config/invalid' }));
  });
});

it('loads a folder as Hugging Face has it, with the framing of RoBERTa', async () => {
  const vocab = { '<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3, '▁': 4, h: 5, i: 6, hi: 7 };
  const merges = [['h', 'i']];
  const json = {
    version: '1.0',
    added_tokens: Object.entries(vocab)
      .slice(0, 4)
      .map(([content, id]) => ({
        id,
        content,
        special: true,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
      })),
    normalizer: null,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', add_prefix_space: true },
    post_processor: {
      type: 'RobertaProcessing',
      sep: ['</s>', 2],
      cls: ['<s>', 0],
      trim_offsets: true,
      add_prefix_space: true,
    },
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', add_prefix_space: true },
    model: { type: 'BPE', unk_token: '<unk>', vocab, merges, fuse_unk: false, byte_fallback: false, dropout: null },
  };
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(json));
  await writeFile(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({ pad_token: '<pad>', tokenizer_class: 'XLMRobertaTokenizer' }),
  );
  const tokenizer = await text.loadTokenizer(folder);
  expect(tokenizer.padId).toBe(1);
  const { tokens, mask, segments } = tokenizer.batch([['hi', 'hi hi'], 'hi'], 12);
  expect([...tokens.subarray(0, 12)]).toEqual([0, 4, 7, 2, 2, 4, 7, 4, 7, 2, 1, 1]);
  expect([...tokens.subarray(12)]).toEqual([0, 4, 7, 2, ...Array(8).fill(1)]);
  expect([...mask.subarray(0, 12)]).toEqual([...Array(10).fill(1), 0, 0]);
  // The library numbers the texts of any pair (docs/bugs.md); models of one segment are not given them.
  expect([...segments.subarray(0, 12)]).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0]);
  await expect(text.loadTokenizer(join(folder, 'absent'))).rejects.toMatchObject({ code: 'trainer/data' });
  await writeFile(join(folder, 'broken.json'), '{"model": 3}');
  await expect(text.loadTokenizer(join(folder, 'broken.json'))).rejects.toMatchObject({ code: 'trainer/data' });
});
