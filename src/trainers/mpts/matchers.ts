/** The three models: one similarity for all perspectives, a bi-encoder with a map each, a cross-encoder. */
import * as tf from '@tensorflow/tfjs';
import { type Batch, type CallOptions, type FunctionalModel, nn } from '../../index.js';
import type { Mode } from './config.js';
import type { VectorEncoder } from './encoder.js';

export interface Matcher extends FunctionalModel {
  readonly variables: readonly tf.Variable[];
  /** Logits [b, perspectives]: positive is yes. */
  predict(batch: Batch): tf.Tensor2D;
  dispose(): void;
}

export interface MatcherOptions {
  readonly mode: Mode;
  readonly numPerspectives: number;
  readonly temperature: number;
  readonly joint: 'tokens' | 'features';
  readonly seed: number;
}

const STDDEV = 0.02;

/**
 * Fields: `tokensA`, `maskA`, `tokensB`, `maskB` [b, T], or for a pair as one sequence `tokens`, `mask`, `segments`, int32;
 * for the loss `labels` [b, perspectives] float32. The loss is the mean binary cross-entropy over pairs and perspectives.
 */
export function matcher(encoder: VectorEncoder, options: MatcherOptions): Matcher {
  const head = HEADS[options.mode](encoder, options);
  const variables = [...encoder.variables, ...head.variables];
  return {
    variables,
    loss(batch: Batch, { training }: CallOptions) {
      const logits = head.logits(batch, training);
      // -y ln s(z) - (1 - y) ln(1 - s(z)) = softplus(z) - y z.
      return tf.mean(tf.sub(tf.softplus(logits), tf.mul(batch.labels!, logits)));
    },
    predict: (batch) => head.logits(batch, false),
    dispose: () => tf.dispose(variables),
  };
}

interface Head {
  readonly variables: readonly tf.Variable[];
  logits(batch: Batch, training: boolean): tf.Tensor2D;
}

const HEADS: Readonly<Record<Mode, (encoder: VectorEncoder, options: MatcherOptions) => Head>> = {
  /** p_i = sigmoid(2 cos(a, b) / tau + bias_i). */
  single(encoder, { numPerspectives, temperature, seed }) {
    const bias = nn.variable('single/bias', [numPerspectives], { kind: 'constant', value: 0 }, { seed });
    return {
      variables: [bias],
      logits(batch, training) {
        const [a, b] = textVectors(encoder, batch, training);
        return tf.add<tf.Tensor2D>(tf.mul(cosine(a, b), 2 / temperature), bias);
      },
    };
  },

  /** p_i = sigmoid(2 cos(W_i a, W_i b) / tau): e^(c/tau) against e^(-c/tau). */
  bi(encoder, { numPerspectives, temperature, seed }) {
    const { size } = encoder;
    const initializer = { kind: 'normal', mean: 0, stddev: 1 / Math.sqrt(size) } as const;
    const maps = nn.variable('bi/maps', [size, numPerspectives * size], initializer, { seed });
    const mapped = (x: tf.Tensor): tf.Tensor => tf.reshape(nn.dense(x, maps), [-1, numPerspectives, size]);
    return {
      variables: [maps],
      logits(batch, training) {
        const [a, b] = textVectors(encoder, batch, training).map(mapped) as [tf.Tensor, tf.Tensor];
        return tf.reshape(tf.mul(cosine(a, b), 2 / temperature), [-1, numPerspectives]);
      },
    };
  },

  /** Two linear maps, no activation between them (as the paper's code has it). */
  cross(encoder, { numPerspectives, joint, seed }) {
    const { size } = encoder;
    const inputs = joint === 'tokens' ? size : 4 * size;
    const linear = (name: string, from: number, to: number, stddev: number) => {
      const weight = nn.variable(`cross/${name}/weight`, [from, to], { kind: 'normal', mean: 0, stddev }, { seed });
      const bias = nn.variable(`cross/${name}/bias`, [to], { kind: 'constant', value: 0 }, { seed });
      return { variables: [weight, bias], apply: (x: tf.Tensor) => nn.dense(x, weight, bias) };
    };
    const hidden = linear('hidden', inputs, size, 1 / Math.sqrt(inputs));
    const output = linear('output', size, numPerspectives, STDDEV);
    return {
      variables: [...hidden.variables, ...output.variables],
      logits(batch, training) {
        const read = joint === 'tokens' ? pairVector(encoder, batch, training) : features(encoder, batch, training);
        return output.apply(hidden.apply(read)) as tf.Tensor2D;
      },
    };
  },
};

function textVectors(encoder: VectorEncoder, batch: Batch, training: boolean): [tf.Tensor2D, tf.Tensor2D] {
  const { tokensA, maskA, tokensB, maskB } = batch;
  return [
    encoder.vectors({ tokens: tokensA!, mask: maskA! }, training, 0),
    encoder.vectors({ tokens: tokensB!, mask: maskB! }, training, 1),
  ];
}

function pairVector(encoder: VectorEncoder, { tokens, mask, segments }: Batch, training: boolean): tf.Tensor2D {
  return encoder.vectors({ tokens: tokens!, mask: mask!, segments }, training, 0);
}

function features(encoder: VectorEncoder, batch: Batch, training: boolean): tf.Tensor2D {
  const [a, b] = textVectors(encoder, batch, training);
  return tf.concat([a, b, tf.abs(tf.sub<tf.Tensor2D>(a, b)), tf.mul<tf.Tensor2D>(a, b)], 1);
}

const EPSILON = 1e-12;

/** Along the last dim, which stays as 1. */
function cosine(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  const square = (x: tf.Tensor): tf.Tensor => tf.add(tf.sum(tf.square(x), -1, true), EPSILON);
  const norms = tf.mul(tf.sqrt(square(a)), tf.sqrt(square(b)));
  return tf.div(tf.sum(tf.mul(a, b), -1, true), norms);
}
