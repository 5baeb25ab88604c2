/** Sentence vectors: the mean of the vectors of the known words. */
import * as tf from '@tensorflow/tfjs';
import { nn, type SpmdGroup, shard } from '../../index.js';
import { plainWordsOf } from '../words/split.js';
import { idsOf, type Vocabulary } from '../words/vocabulary.js';
import type { WordVectors } from '../wordVectors/train.js';

const MAX_WORDS = 64;
const SIF_CONSTANT = 1e-3;
const BLOCK_SENTENCES = 2048;

/** [sentences, size]; a sentence without known words is zeros. */
export async function sentenceVectors(
  group: SpmdGroup,
  sentences: readonly string[],
  vocabulary: Vocabulary,
  { data, size }: WordVectors,
  weighting: 'mean' | 'sif',
): Promise<Float32Array> {
  const table = tf.variable(tf.tensor2d(data, [vocabulary.words.length, size]), false);
  const pooled = group.jit(
    // One product a sentence: [1, words] x [words, size].
    (ids: tf.Tensor, weights: tf.Tensor) => {
      const [count = 0] = ids.shape;
      const rows = tf.matMul(tf.expandDims(weights, 1) as tf.Tensor3D, nn.embedding(table, ids) as tf.Tensor3D);
      return tf.reshape(rows, [count, size]);
    },
    { in: [shard(0), shard(0)], out: shard(0) },
  );
  const out = new Float32Array(sentences.length * size);
  for (let begin = 0; begin < sentences.length; begin += BLOCK_SENTENCES) {
    const block = sentences.slice(begin, begin + BLOCK_SENTENCES);
    // Padded with empty sentences, so that one program serves all blocks.
    const [ids, weights] = encode(
      block,
      vocabulary,
      weighting,
      Math.min(BLOCK_SENTENCES, Math.max(sentences.length, group.numShards)),
    );
    const vectors = await pooled(ids, weights);
    out.set(((await vectors.data()) as Float32Array).subarray(0, block.length * size), begin * size);
    tf.dispose([ids, weights, vectors]);
  }
  await pooled.dispose();
  table.dispose();
  return out;
}

function encode(
  sentences: readonly string[],
  vocabulary: Vocabulary,
  weighting: 'mean' | 'sif',
  numRows: number,
): [tf.Tensor2D, tf.Tensor2D] {
  const ids = new Int32Array(numRows * MAX_WORDS);
  const weights = new Float32Array(numRows * MAX_WORDS);
  for (const [row, sentence] of sentences.entries()) {
    const known = idsOf(plainWordsOf(sentence), vocabulary).slice(0, MAX_WORDS);
    for (const [at, id] of known.entries()) {
      ids[row * MAX_WORDS + at] = id;
      const share = vocabulary.counts[id]! / vocabulary.numTokens;
      weights[row * MAX_WORDS + at] = (weighting === 'mean' ? 1 : SIF_CONSTANT / (SIF_CONSTANT + share)) / known.length;
    }
  }
  return [tf.tensor2d(ids, [numRows, MAX_WORDS], 'int32'), tf.tensor2d(weights, [numRows, MAX_WORDS])];
}
