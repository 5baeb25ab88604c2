/** What there is to whiten: vectors of sentences, made here from word vectors or read from files. */

import { MerakError } from '../../errors.js';
import { readers } from '../../index.js';
import type { DataFolder } from '../context.js';
import { plainWordsOf } from '../words/split.js';
import { makeVocabulary, type Vocabulary } from '../words/vocabulary.js';
import type { WhitenConfig } from './config.js';
import { readCorpus } from './corpus.js';

export interface TextData {
  readonly kind: 'texts';
  readonly vocabulary: Vocabulary;
  /** Words of each text of the corpus. */
  readonly texts: readonly (readonly string[])[];
  /** Sentences 2i and 2i + 1 are pair i. */
  readonly target: readonly string[];
  readonly corpus: readonly string[];
  readonly scores: Float32Array;
}

export interface VectorData {
  readonly kind: 'vectors';
  readonly target: string;
  readonly corpus: string | undefined;
  readonly scores: Float32Array | undefined;
}

/** The files that a configuration reads, under the data folder. */
export function filesOf({ pairs, fitPairs, vectors, fitVectors, evaluate, corpus, sources }: WhitenConfig): string[] {
  if (vectors === undefined) return [pairs, ...(sources.includes('corpus') ? [fitPairs] : []), ...corpus];
  return [vectors, ...(fitVectors === undefined ? [] : [fitVectors]), ...(evaluate ? [pairs] : [])];
}

export async function readData(config: WhitenConfig, folder: DataFolder): Promise<TextData | VectorData> {
  return config.vectors === undefined ? readTexts(config, folder) : readVectors(config, config.vectors, folder);
}

async function readTexts(config: WhitenConfig, folder: DataFolder): Promise<TextData> {
  const { first, second, scores } = await readers.sentencePairs(folder.path(config.pairs));
  const fit = config.sources.includes('corpus')
    ? await readers.sentencePairs(folder.path(config.fitPairs))
    : { first: [], second: [] };
  const texts = (await readCorpus(config.corpus.map((file) => folder.path(file)))).map(plainWordsOf);
  const vocabulary = makeVocabulary(texts, config);
  if (vocabulary.words.length < 2) {
    throw new MerakError('trainer/data', `no two words of the corpus occur ${config.minCount} times`, {
      path: config.corpus.join(', '),
      hint: 'add text, or lower minCount',
    });
  }
  return {
    kind: 'texts',
    vocabulary,
    texts,
    target: first.flatMap((sentence, i) => [sentence, second[i]!]),
    corpus: [...fit.first, ...fit.second],
    scores,
  };
}

async function readVectors(config: WhitenConfig, vectors: string, folder: DataFolder): Promise<VectorData> {
  const target = folder.path(vectors);
  const corpus = config.fitVectors === undefined ? undefined : folder.path(config.fitVectors);
  const file = await readers.openNpy(target);
  await file.close();
  if (corpus === undefined && !config.sources.includes('target')) {
    throw new MerakError('config/invalid', 'corpus statistics need a corpus', {
      path: 'fitVectors',
      expected: 'a .npy file',
    });
  }
  if (corpus !== undefined) {
    const other = await readers.openNpy(corpus);
    await other.close();
    if (other.size !== file.size) {
      throw new MerakError('trainer/data', 'two files hold vectors of different sizes', {
        path: corpus,
        expected: `${file.size} columns, as ${target}`,
        received: String(other.size),
      });
    }
  }
  if (!config.evaluate) return { kind: 'vectors', target, corpus, scores: undefined };
  const { scores } = await readers.sentencePairs(folder.path(config.pairs));
  if (file.numRows !== 2 * scores.length) {
    throw new MerakError('trainer/data', 'a matrix does not fit its pairs', {
      path: target,
      expected: `${2 * scores.length} rows: two for each pair of ${config.pairs}`,
      received: `${file.numRows} rows`,
      hint: 'evaluate=false whitens it without pairs',
    });
  }
  return { kind: 'vectors', target, corpus, scores };
}
