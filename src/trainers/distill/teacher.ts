/** The teacher: whitened means of English word vectors (Su et al. 2021 on count-based vectors). */
import { readers } from '../../index.js';
import type { TrainerContext } from '../context.js';
import { momentsOf } from '../statistics/moments.js';
import { sentenceVectors } from '../whiten/sentences.js';
import { whitenAll, whitenings } from '../whiten/transform.js';
import { plainWordsOf } from '../words/split.js';
import { makeVocabulary } from '../words/vocabulary.js';
import { trainWordVectors } from '../wordVectors/train.js';
import type { DistillConfig } from './config.js';

const BLOCK_ROWS = 4096;
const WORD_VECTORS = { smoothing: 0.75, power: 0, iterations: 6 } as const;

/**
 * Fits word vectors on `sentences` and `corpus`, the whitening on `sentences`; gives the vectors [n, hiddenSize] of
 * `sentences` and of each list of others.
 */
export async function teach(
  context: TrainerContext<DistillConfig>,
  sentences: readonly string[],
  corpus: readonly string[],
  others: readonly (readonly string[])[],
): Promise<readonly Float32Array[]> {
  const { hiddenSize, teacherContexts: numContexts, window, minCount } = context.config;
  const texts = [...sentences, ...corpus].map(plainWordsOf);
  const vocabulary = makeVocabulary(texts, { minCount });
  const options = { ...WORD_VECTORS, dimensions: hiddenSize, numContexts, window, seed: context.seed };
  const vectors = await trainWordVectors(context, 'teacher', texts, vocabulary, options);
  const group = await context.spmd();
  try {
    const sourceOf = async (list: readonly string[]): Promise<readers.RowSource> =>
      readers.rowsInMemory(await sentenceVectors(group, list, vocabulary, vectors, 'mean'), vectors.size);
    const fitted = await sourceOf(sentences);
    const moments = await momentsOf(context, 'teacher-moments', group, fitted, BLOCK_ROWS);
    const [whitening] = whitenings(moments, [-1], 0);
    const white: Float32Array[] = [];
    for (const source of [fitted, ...(await Promise.all(others.map(sourceOf)))]) {
      const rows = await whitenAll(group, source, whitening!, BLOCK_ROWS);
      white.push(widen(rows, whitening!.numComponents, hiddenSize));
    }
    return white;
  } finally {
    await group.close();
  }
}

/** Columns of 0 on the right: a small text has fewer directions than asked for. */
function widen(rows: Float32Array, from: number, to: number): Float32Array {
  if (from === to) return rows;
  const wide = new Float32Array((rows.length / from) * to);
  for (let row = 0; row * from < rows.length; row++) wide.set(rows.subarray(row * from, (row + 1) * from), row * to);
  return wide;
}
