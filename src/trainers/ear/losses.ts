/** The losses of Ding et al. 2022 (arXiv 2210.09934) over a pair of streams: perturbed and original. */
import * as tf from '@tensorflow/tfjs';
import { models, nn } from '../../index.js';

/** What one stream makes of a batch. */
export interface Stream {
  /** [b, C]. */
  readonly logits: tf.Tensor2D;
  /** [b, T, H]: the embedding layer's output. */
  readonly embedded: tf.Tensor;
  /** [b, heads, T, T]: attention probabilities of one layer. */
  readonly attention: tf.Tensor | undefined;
  /** [b, T] int32. */
  readonly mask: tf.Tensor;
}

/** Mean cross-entropy in nats. @param labels [b] int32 */
export function crossEntropy(logits: tf.Tensor2D, labels: tf.Tensor): tf.Scalar {
  return tf.mean(nn.softmaxCrossEntropy(logits, labels));
}

/** Mean over samples and dimensions of the squared difference of the streams' mean embeddings over tokens, negated: L_ep. */
export function embeddingPush(a: Pick<Stream, 'embedded' | 'mask'>, b: Pick<Stream, 'embedded' | 'mask'>): tf.Scalar {
  const [x, y] = [a, b].map(({ embedded, mask }) => models.meanOverTokens(embedded, mask)) as [tf.Tensor, tf.Tensor];
  return tf.neg(meanSquare(x, y));
}

/** Mean over samples, heads and positions of the squared difference of two maps of probabilities: L_ap. */
export function attentionPull(a: tf.Tensor, b: tf.Tensor): tf.Scalar {
  return meanSquare(a, b);
}

function meanSquare(a: tf.Tensor, b: tf.Tensor): tf.Scalar {
  return tf.mean(tf.square(tf.sub(a, b)));
}

export interface Switches {
  readonly robust: boolean;
  readonly push: boolean;
  readonly pull: boolean;
  readonly alpha: number;
  readonly beta: number;
}

/** Each part, and L = L_ce + L_rb + alpha L_ep + beta L_ap over those that are on. */
export function earLoss(
  perturbed: Stream,
  original: Stream | undefined,
  labels: tf.Tensor,
  { robust, push, pull, alpha, beta }: Switches,
): { loss: tf.Tensor } & Record<string, tf.Tensor> {
  const parts: Record<string, tf.Tensor> = { task: crossEntropy(perturbed.logits, labels) };
  let loss = parts.task!;
  if (original !== undefined) {
    if (robust) {
      parts.robust = crossEntropy(original.logits, labels);
      loss = tf.add(loss, parts.robust);
    }
    if (push) {
      parts.push = embeddingPush(perturbed, original);
      loss = tf.add(loss, tf.mul(parts.push, alpha));
    }
    if (pull) {
      parts.pull = attentionPull(perturbed.attention!, original.attention!);
      loss = tf.add(loss, tf.mul(parts.pull, beta));
    }
  }
  return { loss, ...parts };
}
