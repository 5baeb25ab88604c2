/** The teacher: whitened means of English word vectors (Su et al. 2021 on count-based vectors). */
import * as tf from '@tensorflow/tfjs';
import { jit } from '../../index.js';
import { fitWhitening } from '../linear/whitening.js';
import { makeVocabulary, UNKNOWN_ID } from '../words/vocabulary.js';
import { wordVectors } from '../words/wordVectors.js';
import type { DistillConfig } from './config.js';

type Sentences = readonly (readonly string[])[];

/** Vectors [n, H] of the fitting sentences and of others. */
export interface TeacherVectors {
  readonly fitted: Float32Array;
  readonly others: readonly Float32Array[];
}

/** Fits word vectors and whitening on `sentences`, then gives the vectors of these and of each list of others. */
export async function teach(
  sentences: Sentences,
  others: readonly Sentences[],
  { hiddenSize, teacherWords, window, minCount }: DistillConfig,
  seed: number,
): Promise<TeacherVectors> {
  const vocabulary = makeVocabulary(sentences, { minCount, maxSize: teacherWords });
  const known = (list: Sentences): number[][] =>
    list.map((words) => words.map(vocabulary.idOf).filter((id) => id !== UNKNOWN_ID));
  const fitted = known(sentences);
  const numWords = vocabulary.words.length;
  const documents = fitted.map((words) => ({ words, contexts: words }));
  const vectors = await wordVectors(documents, { numWords, numContexts: numWords, size: hiddenSize, window, seed });
  const lists = [fitted, ...others.map(known)];
  const means = await Promise.all(lists.map((list) => meanVectors(vectors, list)));
  const { mean, matrix } = await fitWhitening(means[0]!);
  const whiten = jit((x: tf.Tensor2D) => tf.matMul(x.sub(mean) as tf.Tensor2D, matrix));
  const white: Float32Array[] = [];
  for (const rows of means) {
    const out = await whiten(rows);
    white.push((await out.data()) as Float32Array);
    out.dispose();
  }
  whiten.dispose();
  tf.dispose([vectors, mean, matrix, ...means]);
  return { fitted: white[0]!, others: white.slice(1) };
}

/** The mean vector of each sentence's words; zeros for one without. Padding has a vector of zeros. */
async function meanVectors(vectors: tf.Tensor2D, sentences: readonly (readonly number[])[]): Promise<tf.Tensor2D> {
  const length = sentences.reduce((most, { length: own }) => Math.max(most, own), 1);
  const ids = new Int32Array(sentences.length * length);
  const weights = new Float32Array(ids.length);
  for (const [row, words] of sentences.entries()) {
    ids.set(words, row * length);
    weights.fill(1 / words.length, row * length, row * length + words.length);
  }
  const shape: [number, number] = [sentences.length, length];
  const [idTensor, weightTensor] = [tf.tensor2d(ids, shape, 'int32'), tf.tensor2d(weights, shape)];
  const compute = jit((table: tf.Tensor2D, at: tf.Tensor2D, weight: tf.Tensor2D) =>
    tf.sum(tf.mul(tf.gather(table, at), tf.expandDims(weight, 2)), 1),
  );
  // A part at a time: the gathered rows are as many as there are words.
  const parts: tf.Tensor2D[] = [];
  for (let begin = 0; begin < sentences.length; begin += PART) {
    const size = Math.min(PART, sentences.length - begin);
    const [at, weight] = [idTensor, weightTensor].map((whole) => tf.slice(whole, [begin, 0], [size, length]));
    parts.push((await compute(vectors, at as tf.Tensor2D, weight as tf.Tensor2D)) as tf.Tensor2D);
    tf.dispose([at!, weight!]);
  }
  compute.dispose();
  const joined = tf.concat(parts, 0);
  tf.dispose([...parts, idTensor, weightTensor]);
  return joined;
}

const PART = 2048;
