/** merak.models.encoderDecoder: a text-to-text transformer (Vaswani et al. 2017) as a functional model. */
import * as tf from '@tensorflow/tfjs';
import { embedding } from '../nn/embedding.js';
import { dropout } from '../nn/random.js';
import { softmaxCrossEntropy } from '../nn/softmaxCrossEntropy.js';
import type { Batch, CallOptions, FunctionalModel } from '../trace/model.js';
import { invalid } from './configuration.js';
import { attendTo, type CrossBlock, keysAndValues, makeCrossBlock } from './crossAttention.js';
import { type DecoderState, decodeOne, emptyState } from './decoding.js';
import { checkEncoderDecoderConfig, type EncoderDecoderConfig } from './encoderDecoderConfig.js';
import { field, optionalField } from './fields.js';
import {
  type Block,
  feedForward,
  makeBlock,
  makeNorm,
  type Norm,
  normal,
  normalise,
  selfAttention,
  variableMaker,
} from './transformer.js';

export interface DecoderBlock {
  readonly self: Block;
  readonly cross: CrossBlock;
}

/** The variables of an encoder-decoder by their part. */
export interface EncoderDecoderParts {
  /** [V, H]: of source, target and head. */
  readonly tokenTable: tf.Variable;
  /** [sourceLength, H]. */
  readonly sourcePositions: tf.Variable;
  /** [targetLength, H]. */
  readonly targetPositions: tf.Variable;
  readonly encoderBlocks: readonly Block[];
  readonly encoderNorm: Norm;
  readonly decoderBlocks: readonly DecoderBlock[];
  readonly decoderNorm: Norm;
}

export interface EncoderDecoder extends FunctionalModel {
  readonly config: Required<EncoderDecoderConfig>;
  readonly parts: EncoderDecoderParts;
  /** In the order of use. */
  readonly variables: readonly tf.Variable[];
  /**
   * Cross-entropy in nats: the mean over labels that are not negative within each sample, then over samples, so that it
   * does not depend on how a batch is cut. Batch, int32: `tokens` [b, S], optionally `mask` [b, S] (1 token, 0 padding),
   * `targetTokens` [b, T] (what the decoder has read: a begin token first) and `labels` [b, T] (what comes next).
   */
  loss(batch: Batch, options: CallOptions): tf.Scalar;
  /** [b, T, V] of `tokens`, `mask` and `targetTokens`, without dropout: position t predicts the token after it. */
  predict(batch: Batch): tf.Tensor3D;
  /** Reads the source, once for all steps of decoding. Fields: `tokens` and optionally `mask`. */
  start(source: Batch): DecoderState;
  /** One step of decoding: reads `token` [b] int32 at position `step` [] int32; logits [b, V] of what follows, and the next state's `target`. */
  step(state: DecoderState, token: tf.Tensor, step: tf.Tensor): { logits: tf.Tensor2D } & Pick<DecoderState, 'target'>;
  dispose(): void;
}

/** Of tables; the head is one of them. */
const TABLE_STDDEV = 0.02;
const EPSILON = 1e-5;

/**
 * Pre-norm blocks with learned positions and tanh gelu; the decoder's attend causally to the target, then to the encoder's
 * output. One token table serves source, target and head. `merak.greedyDecode` generates. Raises config/unknown-key and
 * config/invalid.
 *
 * @example
 * const model = merak.models.encoderDecoder({
 *   vocabularySize: 100, sourceLength: 16, targetLength: 8,
 *   numEncoderLayers: 2, numDecoderLayers: 2, numHeads: 2, hiddenSize: 32,
 * });
 * const [tokens, targetTokens] = [tf.zeros([1, 16], 'int32'), tf.zeros([1, 8], 'int32')];
 * model.loss({ tokens, targetTokens, labels: targetTokens }, { training: true }).print();
 */
export function encoderDecoder(userConfig: EncoderDecoderConfig): EncoderDecoder {
  const config = checkEncoderDecoderConfig(userConfig);
  const { vocabularySize, hiddenSize, numHeads, numEncoderLayers, numDecoderLayers, feedForwardSize } = config;
  const maker = variableMaker(config.name, config.seed);
  const tokenTable = maker.make('tokens', [vocabularySize, hiddenSize], normal(TABLE_STDDEV));
  const sourcePositions = maker.make('source-positions', [config.sourceLength, hiddenSize], normal(TABLE_STDDEV));
  // Keeps the size of what it multiplies; residual branches start small, as in GPT: two in an encoder block, three in a decoder's.
  const stddev = 1 / Math.sqrt(hiddenSize);
  const block = (name: string, numBranches: number): Block =>
    makeBlock(maker, name, hiddenSize, stddev, stddev / Math.sqrt(numBranches), feedForwardSize);
  const encoderBlocks = Array.from({ length: numEncoderLayers }, (_, i) => block(`encoder${i}`, 2 * numEncoderLayers));
  const encoderNorm = makeNorm(maker, 'encoder-norm', hiddenSize);
  const targetPositions = maker.make('target-positions', [config.targetLength, hiddenSize], normal(TABLE_STDDEV));
  const numBranches = 3 * numDecoderLayers;
  const decoderBlocks = Array.from({ length: numDecoderLayers }, (_, i) => ({
    self: block(`decoder${i}`, numBranches),
    cross: makeCrossBlock(maker, `decoder${i}/cross`, hiddenSize, stddev, stddev / Math.sqrt(numBranches)),
  }));
  const decoderNorm = makeNorm(maker, 'decoder-norm', hiddenSize);
  const parts = {
    tokenTable,
    sourcePositions,
    targetPositions,
    encoderBlocks,
    encoderNorm,
    decoderBlocks,
    decoderNorm,
  };

  function embed(name: string, tokens: tf.Tensor, positions: tf.Variable): tf.Tensor {
    const [limit] = positions.shape as [number];
    const length = tokens.shape[1] ?? 0;
    if (tokens.rank !== 2 || length > limit) {
      throw invalid('encoderDecoder', name, `[batch, up to ${limit}]`, `[${tokens.shape.join(', ')}]`);
    }
    const rows = length === limit ? positions : tf.slice(positions, [0, 0], [length, hiddenSize]);
    return tf.add(embedding(tokenTable, tokens), rows);
  }

  /** The encoder's output, [b, S, H]. */
  function encode(batch: Batch, training: boolean): tf.Tensor {
    const drop = (x: tf.Tensor): tf.Tensor => dropout(x, { rate: config.dropout, training });
    const mask = optionalField('encoderDecoder', batch, 'mask');
    let x = drop(embed('tokens', field('encoderDecoder', batch, 'tokens'), sourcePositions));
    for (const layer of encoderBlocks) {
      const attended = selfAttention(normalise(x, layer.norm1, EPSILON), layer, { numHeads, causal: false, mask });
      x = tf.add(x, drop(attended.output));
      x = tf.add(x, drop(feedForward(normalise(x, layer.norm2, EPSILON), layer, 'tanh')));
    }
    return normalise(x, encoderNorm, EPSILON);
  }

  /** [b, T, H] after the final norm. */
  function decode(batch: Batch, memory: tf.Tensor, training: boolean): tf.Tensor {
    const drop = (x: tf.Tensor): tf.Tensor => dropout(x, { rate: config.dropout, training });
    const mask = optionalField('encoderDecoder', batch, 'mask');
    let x = drop(embed('targetTokens', field('encoderDecoder', batch, 'targetTokens'), targetPositions));
    for (const { self, cross } of decoderBlocks) {
      const attended = selfAttention(normalise(x, self.norm1, EPSILON), self, { numHeads, causal: true });
      x = tf.add(x, drop(attended.output));
      const remembered = keysAndValues(memory, cross, numHeads);
      x = tf.add(x, drop(attendTo(normalise(x, cross.norm, EPSILON), remembered, cross, { numHeads, mask })));
      x = tf.add(x, drop(feedForward(normalise(x, self.norm2, EPSILON), self, 'tanh')));
    }
    return normalise(x, decoderNorm, EPSILON);
  }

  /** [..., H] -> [rows, V]. */
  const logitRows = (x: tf.Tensor): tf.Tensor2D =>
    tf.matMul(tf.reshape(x, [-1, hiddenSize]), tokenTable, false, true) as tf.Tensor2D;

  return {
    config,
    parts,
    variables: maker.made,
    loss: (batch, { training }) =>
      tf.tidy(() => {
        const labels = field('encoderDecoder', batch, 'labels');
        const rows = logitRows(decode(batch, encode(batch, training), training));
        const losses = tf.reshape(softmaxCrossEntropy(rows, tf.reshape(labels, [-1])), labels.shape);
        const counted = tf.sum(tf.cast(tf.greaterEqual(labels, tf.scalar(0, 'int32')), 'float32'), 1);
        return tf.mean<tf.Scalar>(tf.div(tf.sum(losses, 1), tf.maximum(counted, 1)));
      }),
    predict: (batch) =>
      tf.tidy(() => {
        const x = decode(batch, encode(batch, false), false);
        return tf.reshape(logitRows(x), [-1, x.shape[1] ?? 0, vocabularySize]);
      }),
    start: (source) =>
      emptyState(parts, config, encode(source, false), optionalField('encoderDecoder', source, 'mask')),
    step(state, token, step) {
      const decoded = decodeOne(parts, config, EPSILON, state, token, step);
      return { logits: logitRows(decoded.hidden), target: decoded.target };
    },
    dispose: () => tf.dispose(maker.made),
  };
}
