/** merak.models.encoder: the bidirectional transformer that BERT, XLM-R, MiniLM and their compressed students share. */
import * as tf from '@tensorflow/tfjs';
import { dense } from '../nn/dense.js';
import { embedding } from '../nn/embedding.js';
import { dropout } from '../nn/random.js';
import type { Batch } from '../trace/model.js';
import { invalid } from './configuration.js';
import { checkEncoderConfig, type EncoderConfig } from './encoderConfig.js';
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
  type VariableMaker,
  variableMaker,
} from './transformer.js';

export interface EncodeOptions {
  /** Whether dropout acts. Default false. */
  readonly training?: boolean;
  /** Passes through a block, counted from 0, whose attention probabilities are returned; true for all. Default none. */
  readonly attentions?: boolean | readonly number[];
  /** Calls within one step that are to drop the same elements share it. Default: every call drops others. */
  readonly stream?: number;
}

export interface Encoded {
  /** [b, T, H] each: the embedding output, then the output of every pass through a block. */
  readonly hidden: readonly tf.Tensor[];
  /** [b, heads, T, T] of the passes asked for, in their order; rows sum to 1, dropped keys have 0. */
  readonly attentions: readonly tf.Tensor[];
}

/** The variables of an encoder by their part. */
export interface EncoderParts {
  /** [V, H], or [V, B] under a bottleneck. */
  readonly tokenTable: tf.Variable;
  /** [B, H]; only under a bottleneck. */
  readonly bottleneck: tf.Variable | null;
  /** [numSegments, H]. */
  readonly segmentTable: tf.Variable;
  /** [positionOffset + contextLength, H]. */
  readonly positionTable: tf.Variable;
  readonly embeddingNorm: Norm;
  readonly blocks: readonly Block[];
}

export interface Encoder {
  readonly config: Required<EncoderConfig>;
  readonly parts: EncoderParts;
  /** In the order of use. */
  readonly variables: readonly tf.Variable[];
  /** Those of the embedding alone: tables, bottleneck, norm. */
  readonly embeddingVariables: readonly tf.Variable[];
  /** Fields: `tokens` [b, T] int32; optionally `segments` [b, T] and `mask` [b, T] (1 token, 0 padding), int32. */
  encode(batch: Batch, options?: EncodeOptions): Encoded;
  dispose(): void;
}

const STDDEV = 0.02;

/**
 * Post-norm blocks over token + segment + position embeddings, erf gelu. With `bottleneckSize` B the token table is V x B,
 * followed by a bias-free B x H projection; with `numRepeats` r the blocks run r times over with the same weights (Ding et
 * al. 2022, "parameter recurrent"). Raises config/unknown-key and config/invalid.
 *
 * @example
 * const encoder = merak.models.encoder({ vocabularySize: 100, contextLength: 16, numLayers: 3, numHeads: 2, hiddenSize: 32 });
 * const { hidden } = encoder.encode({ tokens: tf.zeros([1, 16], 'int32') }); // 4 tensors [1, 16, 32]
 */
export function encoder(userConfig: EncoderConfig): Encoder {
  const config = checkEncoderConfig('encoder', userConfig);
  return makeEncoder(config, variableMaker(config.name, config.seed));
}

/** An encoder whose variables `maker` makes, so that a model around it may go on with the same maker. */
export function makeEncoder(config: Required<EncoderConfig>, maker: VariableMaker): Encoder {
  const { vocabularySize, contextLength, numLayers, numHeads, hiddenSize, bottleneckSize, positionOffset } = config;
  const before = maker.made.length;
  const tokenTable = maker.make('tokens', [vocabularySize, bottleneckSize ?? hiddenSize], normal(STDDEV));
  // Keeps the projected rows as long as those of a full table.
  const bottleneck =
    bottleneckSize === null
      ? null
      : maker.make('bottleneck', [bottleneckSize, hiddenSize], normal(1 / Math.sqrt(bottleneckSize)));
  const segmentTable = maker.make('segments', [config.numSegments, hiddenSize], normal(STDDEV));
  const positionTable = maker.make('positions', [positionOffset + contextLength, hiddenSize], normal(STDDEV));
  const embeddingNorm = makeNorm(maker, 'norm', hiddenSize);
  const embeddingVariables = maker.made.slice(before);
  const blocks = Array.from({ length: numLayers }, (_, layer) =>
    makeBlock(maker, `block${layer}`, hiddenSize, STDDEV, STDDEV, config.feedForwardSize),
  );
  const variables = maker.made.slice(before);
  const numPasses = numLayers * config.numRepeats;

  function embed(batch: Batch): tf.Tensor {
    const tokens = field('encoder', batch, 'tokens');
    const length = tokens.shape[1] ?? 0;
    if (tokens.rank !== 2 || length > contextLength) {
      throw invalid('encoder', 'tokens', `[batch, up to ${contextLength}]`, `[${tokens.shape.join(', ')}]`);
    }
    const segments = optionalField('encoder', batch, 'segments');
    const allPositions = positionOffset === 0 && length === contextLength;
    const positions = allPositions ? positionTable : tf.slice(positionTable, [positionOffset, 0], [length, hiddenSize]);
    const segmentRows =
      segments === undefined ? tf.slice(segmentTable, [0, 0], [1, hiddenSize]) : embedding(segmentTable, segments);
    const rows = embedding(tokenTable, tokens);
    const tokenRows = bottleneck === null ? rows : dense(rows, bottleneck);
    return normalise(tf.add(tf.add(tokenRows, segmentRows), positions), embeddingNorm, config.epsilon);
  }

  function encode(batch: Batch, { training = false, attentions = false, stream }: EncodeOptions = {}): Encoded {
    // One number for each dropout, in the order of use over all passes; in a stream, of this encoder, streams counting on
    // from one another.
    let node = (stream ?? 0) * (1 + 2 * numPasses);
    const drop = (x: tf.Tensor): tf.Tensor =>
      dropout(x, { rate: config.dropout, training, ...(stream === undefined ? {} : { node: node++ }) });
    const wanted = (pass: number): boolean =>
      typeof attentions === 'boolean' ? attentions : attentions.includes(pass);
    const mask = optionalField('encoder', batch, 'mask');
    let x = drop(embed(batch));
    const hidden = [x];
    const probabilities: tf.Tensor[] = [];
    for (let pass = 0; pass < numPasses; pass++) {
      const block = blocks[pass % numLayers]!;
      const attended = selfAttention(x, block, { numHeads, causal: false, mask, withProbabilities: wanted(pass) });
      if (attended.probabilities !== undefined) probabilities.push(attended.probabilities);
      const y = normalise(tf.add(x, drop(attended.output)), block.norm1, config.epsilon);
      x = normalise(tf.add(y, drop(feedForward(y, block, 'none'))), block.norm2, config.epsilon);
      hidden.push(x);
    }
    return { hidden, attentions: probabilities };
  }

  return {
    config,
    parts: { tokenTable, bottleneck, segmentTable, positionTable, embeddingNorm, blocks },
    variables,
    embeddingVariables,
    encode,
    dispose: () => tf.dispose([...variables]),
  };
}
