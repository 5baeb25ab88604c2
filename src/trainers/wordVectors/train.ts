/** Word vectors from plain text by counting: PPMI and a truncated singular value decomposition, no gradients. */
import * as tf from '@tensorflow/tfjs';
import { loadState, saveState } from '../../index.js';
import type { TrainerContext } from '../context.js';
import { idsOf, type Vocabulary } from '../words/vocabulary.js';
import { cooccurrences, toPpmi } from './ppmi.js';
import { truncatedSvd } from './truncatedSvd.js';

export interface WordVectorOptions {
  readonly dimensions: number;
  readonly window: number;
  readonly numContexts: number;
  readonly smoothing: number;
  readonly power: number;
  readonly iterations: number;
  readonly seed: number;
}

export interface WordVectors {
  readonly size: number;
  /** [words, size]. */
  readonly data: Float32Array;
}

const OVERSAMPLING = 20;

/** Kept in the run's state as `name`: a resumed run does not count again. */
export async function trainWordVectors(
  context: Pick<TrainerContext, 'iterate' | 'spmd' | 'stage' | 'log'>,
  name: string,
  texts: readonly (readonly string[])[],
  vocabulary: Vocabulary,
  options: WordVectorOptions,
): Promise<WordVectors> {
  const numWords = vocabulary.words.length;
  const numContexts = Math.min(numWords, options.numContexts);
  let made: WordVectors | undefined;
  await context.stage(
    name,
    async () => {
      const ids = texts.map((words) => idsOf(words, vocabulary));
      const matrix = cooccurrences(ids, { numWords, numContexts, window: options.window });
      toPpmi(matrix, numWords, numContexts, options.smoothing);
      const problem = { data: matrix, rows: numWords, columns: numContexts };
      const { dimensions: numComponents, power, iterations, seed } = options;
      const settings = { numComponents, oversampling: OVERSAMPLING, iterations, power, seed };
      const { left, values } = await truncatedSvd(context, `${name}-svd`, problem, settings);
      context.log.info(
        `word vectors: ${numWords} words x ${values.length}, singular values ${values[0]!.toFixed(1)} to ${values.at(-1)!.toFixed(1)}`,
      );
      made = { size: values.length, data: left };
      return null;
    },
    {
      async save(folder) {
        const { data, size } = made!;
        const vectors = tf.tensor2d(data, [numWords, size]);
        await saveState(folder, { vectors });
        vectors.dispose();
      },
      async load(folder) {
        const { vectors } = (await loadState(folder)).tensors;
        made = { size: vectors!.shape[1]!, data: (await vectors!.data()) as Float32Array };
        vectors!.dispose();
      },
    },
  );
  return made!;
}
