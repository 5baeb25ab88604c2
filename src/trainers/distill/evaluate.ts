/** Spearman's rho of cosines with human scores, by pair of languages. */
import * as tf from '@tensorflow/tfjs';
import { jit, metrics } from '../../index.js';
import { encodeSentences } from '../words/encode.js';
import type { ScoredPairs } from '../words/parallelText.js';
import { wordsOf } from '../words/split.js';
import type { Vocabulary } from '../words/vocabulary.js';
import type { SentenceEncoder } from './model.js';

/** By `en-de` and so on: the first sentence in the one language, the second in the other. */
export type Correlations = Readonly<Record<string, number>>;

const BATCH = 256;

export async function measure(
  student: SentenceEncoder,
  vocabulary: Vocabulary,
  tests: ReadonlyMap<string, ScoredPairs>,
): Promise<Correlations> {
  const encode = jit((tokens: tf.Tensor, mask: tf.Tensor) => student.vectors(tokens, mask));
  const vectorsOf = async (texts: readonly string[]): Promise<tf.Tensor2D> => {
    const length = student.encoder.config.contextLength;
    const parts: tf.Tensor2D[] = [];
    for (let begin = 0; begin < texts.length; begin += BATCH) {
      const { tokens, mask } = encodeSentences(vocabulary, texts.slice(begin, begin + BATCH).map(wordsOf), length);
      const shape: [number, number] = [tokens.length / length, length];
      const inputs = [tokens, mask].map((values) => tf.tensor2d(values, shape, 'int32'));
      parts.push((await encode(inputs[0]!, inputs[1]!)) as tf.Tensor2D);
      tf.dispose(inputs);
    }
    const joined = tf.concat(parts, 0);
    tf.dispose(parts);
    return joined;
  };
  const encoded = new Map<string, { first: tf.Tensor2D; second: tf.Tensor2D; scores: readonly number[] }>();
  for (const [language, { first, second, scores }] of tests) {
    encoded.set(language, { first: await vectorsOf(first), second: await vectorsOf(second), scores });
  }
  encode.dispose();
  const correlations: Record<string, number> = {};
  const languages = [...encoded.keys()];
  for (const [i, a] of languages.entries()) {
    for (const b of languages.slice(i)) {
      const { first, scores } = encoded.get(a)!;
      correlations[`${a}-${b}`] = metrics.spearman(pairCosines(first, encoded.get(b)!.second), scores);
    }
  }
  for (const { first, second } of encoded.values()) tf.dispose([first, second]);
  return correlations;
}

/** Of row i of each; 0 beside a row of zeros. */
export function pairCosines(a: tf.Tensor2D, b: tf.Tensor2D): Float32Array {
  return tf.tidy(() => {
    const norms = tf.mul(tf.norm(a, 'euclidean', 1), tf.norm(b, 'euclidean', 1));
    return tf.divNoNan(tf.sum(tf.mul(a, b), 1), norms).dataSync() as Float32Array;
  });
}

/** Means within English, within each other language, between English and another, and between two others (NaN: no such pair). */
export function summarise(correlations: Correlations): {
  english: number;
  within: number;
  cross: number;
  others: number;
} {
  const mean = (keep: (a: string, b: string) => boolean): number => {
    const kept = Object.entries(correlations).filter(([pair]) => keep(...(pair.split('-') as [string, string])));
    return kept.length === 0 ? Number.NaN : kept.reduce((sum, [, value]) => sum + value, 0) / kept.length;
  };
  return {
    english: mean((a, b) => a === 'en' && b === 'en'),
    within: mean((a, b) => a === b && a !== 'en'),
    cross: mean((a, b) => a !== b && a === 'en'),
    others: mean((a, b) => a !== b && a !== 'en'),
  };
}
