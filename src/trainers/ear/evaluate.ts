/** Accuracy by language, and of a language whose every token embedding is displaced by one vector. */
import * as tf from '@tensorflow/tfjs';
import { jit } from '../../index.js';
import { encodeSentences } from '../words/encode.js';
import { keyedRandom } from '../words/keyedRandom.js';
import type { EarConfig } from './config.js';
import type { Labelled } from './data.js';
import type { Classifier } from './model.js';
import type { Prepared } from './prepare.js';
import { accuracyOf, tensors } from './train.js';

/** Accuracy by language; for the displaced source, by `displaced <length>`. */
export type Accuracies = Readonly<Record<string, number>>;

/**
 * The displacement is added to the row of segment 0, which is part of every token's embedding; its length is in units of
 * the root mean square length of the token table's rows, its direction that of a normal draw.
 */
export async function measure(
  model: Classifier,
  { vocabulary, tests }: Prepared,
  { contextLength, displacements }: EarConfig,
  seed: number,
): Promise<Accuracies> {
  const predict = jit((tokens: tf.Tensor, mask: tf.Tensor) => model.predict({ tokens, mask }));
  const accuracies: Record<string, number> = {};
  try {
    for (const [language, test] of tests) accuracies[language] = await accuracy(test);
    const [source] = tests.values();
    const plain = model.segmentTable.clone();
    for (const length of displacements) {
      tf.tidy(() => {
        const unit = tf.sqrt(tf.mean(tf.sum(tf.square(model.tokenTable), 1)));
        model.segmentTable.assign(plain.add(tf.mul(direction(plain.shape[1]!, seed), tf.mul(unit, length))));
      });
      accuracies[`displaced ${length}`] = await accuracy(source!);
    }
    model.segmentTable.assign(plain);
    plain.dispose();
    return accuracies;
  } finally {
    predict.dispose();
  }

  async function accuracy(test: Labelled): Promise<number> {
    const { tokens, mask } = tensors(encodeSentences(vocabulary, test.sentences, contextLength), contextLength);
    const logits = await predict(tokens, mask);
    tf.dispose([tokens, mask]);
    return accuracyOf(logits, test);
  }
}

/** [1, H] of length 1. */
function direction(size: number, seed: number): tf.Tensor {
  const random = keyedRandom(seed, size);
  // Sums of uniforms: normal enough for a direction.
  const values = Array.from({ length: size }, () => Array.from({ length: 12 }, random).reduce((a, b) => a + b, -6));
  const norm = Math.hypot(...values);
  return tf.tensor2d([values.map((value) => value / norm)]);
}
