/** Tweets with sentiment, one text and one label a line; unlabelled text of every language. */
import { MerakError, readers } from '../../index.js';
import type { TrainerContext } from '../context.js';
import { readAligned, stsbFile } from '../words/parallelText.js';
import { wordsOf } from '../words/split.js';
import type { EarConfig } from './config.js';
import { readSynonyms, type Synonyms } from './synonyms.js';

export const LABELS = ['0', '1', '2'] as const;
export const SYNONYM_FILE = 'synonyms/counterfitted_neighbors.json';

export interface Labelled {
  readonly sentences: readonly (readonly string[])[];
  readonly labels: Int32Array;
}

export interface EarData {
  readonly train: Labelled;
  readonly dev: Labelled;
  /** By language, the source first. */
  readonly tests: ReadonlyMap<string, Labelled>;
  /** Training tweets of the other languages. */
  readonly unlabelled: readonly (readonly string[])[];
  /** Rows of translations, the first language's first. */
  readonly aligned: readonly (readonly (readonly string[])[])[];
  readonly synonyms: Synonyms;
}

export function tweetFiles(language: string, part: string): { texts: string; labels: string } {
  const base = `xlmt-sentiment/${language}-${part}`;
  return { texts: `${base}-text.txt`, labels: `${base}-labels.txt` };
}

export function filesOf({ source, languages, parallel }: EarConfig): string[] {
  const parts = ['train', 'val', 'test'].flatMap((part) => Object.values(tweetFiles(source, part)));
  const others = languages.flatMap((language) => [
    tweetFiles(language, 'train').texts,
    ...Object.values(tweetFiles(language, 'test')),
  ]);
  return [...parts, ...others, ...parallel.map((language) => stsbFile(language, 'train')), SYNONYM_FILE];
}

/** @throws MerakError trainer/data naming file and line */
export async function readData({ config, data }: Pick<TrainerContext<EarConfig>, 'config' | 'data'>): Promise<EarData> {
  const { source, languages, parallel } = config;
  const labelled = (language: string, part: string): Promise<Labelled> => {
    const { texts, labels } = tweetFiles(language, part);
    return readTweets(data.path(texts), data.path(labels));
  };
  const tests = new Map<string, Labelled>();
  for (const language of [source, ...languages]) tests.set(language, await labelled(language, 'test'));
  const texts = languages.map((language) => readers.lines(data.path(tweetFiles(language, 'train').texts)));
  const files = Object.fromEntries(parallel.map((language) => [language, data.path(stsbFile(language, 'train'))]));
  const pairs = [...(await readAligned(files)).values()].map(({ first, second }) => [...first, ...second].map(wordsOf));
  return {
    train: await labelled(source, 'train'),
    dev: await labelled(source, 'val'),
    tests,
    unlabelled: (await Promise.all(texts)).flat().map(wordsOf),
    aligned: (pairs[0] ?? []).map((_, row) => pairs.map((sentences) => sentences[row]!)),
    synonyms: await readSynonyms(data.path(SYNONYM_FILE)),
  };
}

async function readTweets(textFile: string, labelFile: string): Promise<Labelled> {
  const [texts, labels] = await Promise.all([readers.lines(textFile), readers.lines(labelFile)]);
  if (texts.length !== labels.length) {
    throw new MerakError('trainer/data', 'texts and labels do not belong together', {
      path: `${labelFile}:${Math.min(texts.length, labels.length) + 1}`,
      expected: `${texts.length} lines, as ${textFile} has`,
      received: `${labels.length} lines`,
    });
  }
  const ids = labels.map((label, row) => {
    const id = (LABELS as readonly string[]).indexOf(label.trim());
    if (id !== -1) return id;
    throw new MerakError('trainer/data', 'a tweet has an unknown label', {
      path: `${labelFile}:${row + 1}, column 1 (label)`,
      expected: LABELS.join(', '),
      received: JSON.stringify(label),
    });
  });
  return { sentences: texts.map(wordsOf), labels: Int32Array.from(ids) };
}
