/** merak.models.bert: a bidirectional transformer encoder (Devlin et al. 2018) as a functional model. */
import * as tf from '@tensorflow/tfjs';
import { dense } from '../nn/dense.js';
import { gelu } from '../nn/gelu.js';
import { softmaxCrossEntropy } from '../nn/softmaxCrossEntropy.js';
import type { Batch, CallOptions, FunctionalModel } from '../trace/model.js';
import { type Encoder, makeEncoder } from './encoder.js';
import { checkEncoderConfig, type EncoderConfig } from './encoderConfig.js';
import { field } from './fields.js';
import {
  type Linear,
  linear,
  makeLinear,
  makeNorm,
  type Norm,
  normalise,
  variableMaker,
  ZEROS,
} from './transformer.js';

export type BertConfig = EncoderConfig;

/** The variables of the heads. */
export interface BertHeads {
  readonly pooler: Linear;
  readonly transform: Linear;
  readonly norm: Norm;
  /** [V]. */
  readonly bias: tf.Variable;
}

export interface Bert extends FunctionalModel {
  readonly config: Required<BertConfig>;
  /** The encoder alone, with the same variables: hidden states and attention probabilities. */
  readonly encoder: Encoder;
  readonly heads: BertHeads;
  /** In the order of use. */
  readonly variables: readonly tf.Variable[];
  /**
   * Masked-language-model loss in nats: the mean over labels that are not negative (0 when all are). Batch: `tokens`,
   * `labels` [b, T] int32; optionally `segments` [b, T] and `mask` [b, T] (1 token, 0 padding), int32.
   */
  loss(batch: Batch, options: CallOptions): tf.Scalar;
  /** [b, T, vocabularySize] of a batch, without dropout. */
  logits(batch: Batch): tf.Tensor3D;
  /** `logits` [b, T, vocabularySize] and `pooled` [b, hiddenSize] (tanh of a projection of the first position). */
  predict(batch: Batch): { readonly logits: tf.Tensor; readonly pooled: tf.Tensor };
  dispose(): void;
}

const STDDEV = 0.02;

/**
 * A BERT encoder with a pooler and a masked-language-model head tied to the token table; with `positionOffset: 2`,
 * `numSegments: 1` and `epsilon: 1e-5` it is XLM-R. Raises config/unknown-key and config/invalid.
 *
 * @example
 * const model = merak.models.bert({ vocabularySize: 100, contextLength: 16, numLayers: 2, numHeads: 2, hiddenSize: 32 });
 * const tokens = tf.zeros([1, 16], 'int32');
 * model.loss({ tokens, labels: tokens }, { training: true }).print();
 */
export function bert(userConfig: BertConfig): Bert {
  const config = checkEncoderConfig('bert', userConfig);
  const { vocabularySize, hiddenSize } = config;
  const maker = variableMaker(config.name, config.seed);
  const encoder = makeEncoder(config, maker);
  const { tokenTable, bottleneck } = encoder.parts;
  const pooler = makeLinear(maker, 'pooler', hiddenSize, hiddenSize, STDDEV);
  const transform = makeLinear(maker, 'head/transform', hiddenSize, hiddenSize, STDDEV);
  const norm = makeNorm(maker, 'head/norm', hiddenSize);
  const bias = maker.make('head/bias', [vocabularySize], ZEROS);

  /** Final hidden states, [b, T, H]. */
  const encode = (batch: Batch, training: boolean): tf.Tensor => encoder.encode(batch, { training }).hidden.at(-1)!;

  /** [b, T, H] -> [b T, V]. */
  function logitRows(hidden: tf.Tensor): tf.Tensor {
    const rows = tf.reshape(hidden, [-1, hiddenSize]);
    const transformed = normalise(gelu(linear(rows, transform), 'none'), norm, config.epsilon);
    const narrow = bottleneck === null ? transformed : tf.matMul(transformed, bottleneck, false, true);
    return tf.add(tf.matMul(narrow, tokenTable, false, true), bias);
  }

  function predict(batch: Batch): { logits: tf.Tensor; pooled: tf.Tensor } {
    return tf.tidy(() => {
      const hidden = encode(batch, false);
      const [numSamples = 0, length = 0] = hidden.shape;
      const first = tf.reshape(tf.slice(hidden, [0, 0, 0], [numSamples, 1, hiddenSize]), [numSamples, hiddenSize]);
      const pooled = tf.tanh(dense(first, pooler.weight, pooler.bias));
      return { logits: tf.reshape(logitRows(hidden), [numSamples, length, vocabularySize]), pooled };
    });
  }

  function loss(batch: Batch, { training }: CallOptions): tf.Scalar {
    return tf.tidy(() => {
      const labels = tf.reshape(field('bert', batch, 'labels'), [-1]);
      const losses = softmaxCrossEntropy(logitRows(encode(batch, training)), labels);
      const counted = tf.cast(tf.greaterEqual(labels, tf.scalar(0, 'int32')), 'float32');
      return tf.div<tf.Scalar>(tf.sum(losses), tf.maximum(tf.sum(counted), 1));
    });
  }

  return {
    config,
    encoder,
    heads: { pooler, transform, norm, bias },
    variables: maker.made,
    loss,
    predict,
    logits: (batch) => {
      const { logits, pooled } = predict(batch);
      pooled.dispose();
      return logits as tf.Tensor3D;
    },
    dispose: () => tf.dispose(maker.made),
  };
}
