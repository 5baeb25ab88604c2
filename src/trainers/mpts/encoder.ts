/** What makes one vector of a sequence: a transformer, or a bag of words weighted by idf. */
import * as tf from '@tensorflow/tfjs';
import { type Batch, models, nn } from '../../index.js';

export interface Sequence {
  /** [b, T] int32. */
  readonly tokens: tf.Tensor;
  /** [b, T] int32: 1 token, 0 padding. */
  readonly mask: tf.Tensor;
  /** [b, T] int32: which text of a pair. */
  readonly segments?: tf.Tensor | undefined;
}

export interface VectorEncoder {
  /** Width of a vector. */
  readonly size: number;
  readonly variables: readonly tf.Variable[];
  /** [b, size]; calls of one step that are to drop different elements differ in `stream`. */
  vectors(sequence: Sequence, training: boolean, stream: number): tf.Tensor2D;
}

export function transformerEncoder(encoder: models.Encoder, pooling: models.Pooling): VectorEncoder {
  return {
    size: encoder.config.hiddenSize,
    variables: encoder.variables,
    vectors({ tokens, mask, segments }, training, stream) {
      const batch: Batch = segments === undefined ? { tokens, mask } : { tokens, mask, segments };
      return models.pool(pooling, encoder.encode(batch, { training, stream }).hidden, mask);
    },
  };
}

/** Keeps the streams of a bag's dropout apart from other dropouts. */
const FIRST_NODE = 1000;

/**
 * sum_t w_t E[x_t] / sum_t |w_t|, with w begun at idf and trained along; dropout takes whole words.
 *
 * @param idf of every id; 0 leaves it out
 */
export function bagEncoder(table: tf.Variable, idf: Float32Array, dropout: number): VectorEncoder {
  const weights = tf.variable(tf.tensor2d(idf, [idf.length, 1]), true, `${table.name}/idf`);
  return {
    size: table.shape[1]!,
    variables: [table, weights],
    vectors({ tokens, mask }, training, stream) {
      const seen = tf.mul(nn.embedding(weights, tokens), tf.expandDims(tf.cast(mask, 'float32'), 2));
      const kept = nn.dropout(seen, { rate: dropout, training, node: FIRST_NODE + stream });
      const sum = tf.sum(tf.mul(nn.embedding(table, tokens), kept), 1);
      return tf.div<tf.Tensor2D>(sum, tf.add(tf.sum(tf.abs(seen), 1), EPSILON));
    },
  };
}

const EPSILON = 1e-6;

/** ln(n / documents with it) of every id; 0 for ids below `numSpecial`, and of one document for those in none. */
export function idfOf(documents: readonly Int32Array[], vocabularySize: number, numSpecial: number): Float32Array {
  const counts = new Float32Array(vocabularySize);
  for (const document of documents) for (const id of new Set(document)) counts[id]!++;
  return counts.map((n, id) => (id < numSpecial ? 0 : Math.log(documents.length / Math.max(1, n))));
}
