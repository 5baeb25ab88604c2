/** merak.models.bert: a bidirectional transformer encoder (Devlin et al. 2018) as a functional model. */
import * as tf from '@tensorflow/tfjs';
import { dense } from '../nn/dense.js';
import { embedding } from '../nn/embedding.js';
import { gelu } from '../nn/gelu.js';
import { dropout } from '../nn/random.js';
import { softmaxCrossEntropy } from '../nn/softmaxCrossEntropy.js';
import type { Batch, CallOptions, FunctionalModel } from '../trace/model.js';
import { checkKeys, checkPositiveIntegers, invalid } from './configuration.js';
import { field, optionalField } from './fields.js';
import {
  type Block,
  feedForward,
  linear,
  makeBlock,
  makeLinear,
  makeNorm,
  normal,
  normalise,
  selfAttention,
  variableMaker,
  ZEROS,
} from './transformer.js';

export interface BertConfig {
  readonly vocabularySize: number;
  /** Longest sequence: rows of the position table. */
  readonly contextLength: number;
  readonly numLayers: number;
  readonly numHeads: number;
  /** A multiple of `numHeads`. */
  readonly hiddenSize: number;
  /** Number of token types ("segments"). Default 2. */
  readonly numSegments?: number;
  /** Rate on the embeddings and on both residual branches of a block. Default 0. */
  readonly dropout?: number;
  /** Keys the initial weights. Default 0. */
  readonly seed?: number;
}

export interface Bert extends FunctionalModel {
  readonly config: Required<BertConfig>;
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

const KNOWN_KEYS: readonly (keyof BertConfig)[] = [
  'vocabularySize',
  'contextLength',
  'numLayers',
  'numHeads',
  'hiddenSize',
  'numSegments',
  'dropout',
  'seed',
];
const STDDEV = 0.02;
const EPSILON = 1e-12;

/**
 * A BERT encoder: post-norm blocks, token + segment + position embeddings, erf gelu, and a masked-language-model head
 * tied to the token table. Raises config/unknown-key and config/invalid.
 *
 * @example
 * const model = merak.models.bert({ vocabularySize: 100, contextLength: 16, numLayers: 2, numHeads: 2, hiddenSize: 32 });
 * const tokens = tf.zeros([1, 16], 'int32');
 * model.loss({ tokens, labels: tokens }, { training: true }).print();
 */
export function bert(userConfig: BertConfig): Bert {
  const config = checkConfig(userConfig);
  const { vocabularySize, contextLength, numLayers, numHeads, hiddenSize, numSegments } = config;
  const maker = variableMaker('bert', config.seed);
  const tokenTable = maker.make('tokens', [vocabularySize, hiddenSize], normal(STDDEV));
  const segmentTable = maker.make('segments', [numSegments, hiddenSize], normal(STDDEV));
  const positionTable = maker.make('positions', [contextLength, hiddenSize], normal(STDDEV));
  const embeddingNorm = makeNorm(maker, 'norm', hiddenSize);
  const blocks = Array.from({ length: numLayers }, (_, layer) =>
    makeBlock(maker, `block${layer}`, hiddenSize, STDDEV, STDDEV),
  );
  const pooler = makeLinear(maker, 'pooler', hiddenSize, hiddenSize, STDDEV);
  const transform = makeLinear(maker, 'head/transform', hiddenSize, hiddenSize, STDDEV);
  const headNorm = makeNorm(maker, 'head/norm', hiddenSize);
  const headBias = maker.make('head/bias', [vocabularySize], ZEROS);

  /** Final hidden states, [b, T, H]. Dropout nodes number in the order of use. */
  function encode(batch: Batch, training: boolean): tf.Tensor {
    const tokens = field('bert', batch, 'tokens');
    const length = tokens.shape[1] ?? 0;
    if (tokens.rank !== 2 || length > contextLength) {
      throw invalid('bert', 'tokens', `[batch, up to ${contextLength}]`, `[${tokens.shape.join(', ')}]`);
    }
    let node = 0;
    const drop = (x: tf.Tensor): tf.Tensor => dropout(x, { rate: config.dropout, training, node: node++ });
    const segments = optionalField('bert', batch, 'segments');
    const mask = optionalField('bert', batch, 'mask');
    const positions = length === contextLength ? positionTable : tf.slice(positionTable, [0, 0], [length, hiddenSize]);
    const firstSegment = (): tf.Tensor => tf.slice(segmentTable, [0, 0], [1, hiddenSize]);
    const segmentRows = segments === undefined ? firstSegment() : embedding(segmentTable, segments);
    const embedded = tf.add(tf.add(embedding(tokenTable, tokens), segmentRows), positions);
    let x = drop(normalise(embedded, embeddingNorm, EPSILON));
    for (const block of blocks) x = encodeBlock(x, block, mask, drop);
    return x;
  }

  function encodeBlock(
    x: tf.Tensor,
    block: Block,
    mask: tf.Tensor | undefined,
    drop: (x: tf.Tensor) => tf.Tensor,
  ): tf.Tensor {
    const attended = drop(selfAttention(x, block, numHeads, false, mask));
    const y = normalise(tf.add(x, attended), block.norm1, EPSILON);
    return normalise(tf.add(y, drop(feedForward(y, block, 'none'))), block.norm2, EPSILON);
  }

  /** [b, T, H] -> [b T, V]. */
  function logitRows(hidden: tf.Tensor): tf.Tensor {
    const rows = tf.reshape(hidden, [-1, hiddenSize]);
    const transformed = normalise(gelu(linear(rows, transform), 'none'), headNorm, EPSILON);
    return tf.add(tf.matMul(transformed, tokenTable, false, true), headBias);
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

function checkConfig(config: BertConfig): Required<BertConfig> {
  checkKeys('bert', config, KNOWN_KEYS);
  const { vocabularySize, contextLength, numLayers, numHeads, hiddenSize, numSegments = 2 } = config;
  checkPositiveIntegers('bert', { vocabularySize, contextLength, numLayers, numHeads, hiddenSize, numSegments });
  const { dropout: rate = 0, seed = 0 } = config;
  if (hiddenSize % numHeads !== 0)
    throw invalid('bert', 'hiddenSize', `a multiple of numHeads (${numHeads})`, hiddenSize);
  if (!(rate >= 0 && rate < 1)) throw invalid('bert', 'dropout', 'a number in [0, 1)', rate);
  if (!Number.isSafeInteger(seed) || seed < 0) throw invalid('bert', 'seed', 'a non-negative integer', seed);
  return { vocabularySize, contextLength, numLayers, numHeads, hiddenSize, numSegments, dropout: rate, seed };
}
