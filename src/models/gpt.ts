/** merak.models.gpt: a decoder-only transformer (GPT-2's architecture) as a functional model. */
import * as tf from '@tensorflow/tfjs';
import { dense } from '../nn/dense.js';
import { embedding } from '../nn/embedding.js';
import { dropout } from '../nn/random.js';
import { softmaxCrossEntropy } from '../nn/softmaxCrossEntropy.js';
import type { Batch, CallOptions, FunctionalModel } from '../trace/model.js';
import { checkKeys, checkPositiveIntegers, invalid } from './configuration.js';
import { field } from './fields.js';
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

export interface GptConfig {
  readonly vocabularySize: number;
  /** Longest sequence: rows of the position table. */
  readonly contextLength: number;
  readonly numLayers: number;
  readonly numHeads: number;
  /** A multiple of `numHeads`. */
  readonly hiddenSize: number;
  /** Rate on the embeddings and on both residual branches of a block. Default 0. */
  readonly dropout?: number;
  /** Keys the initial weights. Default 0. */
  readonly seed?: number;
  /** Whether the head is the token table. Default true. */
  readonly tiedEmbeddings?: boolean;
}

/** The variables of a GPT by their part. */
export interface GptParts {
  /** [V, H]. */
  readonly tokenTable: tf.Variable;
  /** [contextLength, H]. */
  readonly positionTable: tf.Variable;
  readonly blocks: readonly Block[];
  readonly finalNorm: Norm;
  /** [H, V]; null when it is the token table. */
  readonly head: tf.Variable | null;
}

export interface Gpt extends FunctionalModel {
  readonly config: Required<GptConfig>;
  readonly parts: GptParts;
  /** In the order of use. */
  readonly variables: readonly tf.Variable[];
  /** Mean next-token loss in nats. Batch: `tokens` and `targets`, both [b, T] int32, targets in [0, vocabularySize). */
  loss(batch: Batch, options: CallOptions): tf.Scalar;
  /** [b, T] int32 -> [b, T, vocabularySize], without dropout. T may be anything up to contextLength. */
  logits(tokens: tf.Tensor): tf.Tensor3D;
  /** The logits of `batch.tokens`: position t predicts token t + 1. */
  predict(batch: Batch): tf.Tensor3D;
  dispose(): void;
}

const KNOWN_KEYS: readonly (keyof GptConfig)[] = [
  'vocabularySize',
  'contextLength',
  'numLayers',
  'numHeads',
  'hiddenSize',
  'dropout',
  'seed',
  'tiedEmbeddings',
];
const STDDEV = 0.02;
const EPSILON = 1e-5;

/**
 * A GPT: pre-norm blocks, learned positions, fused q|k|v, gelu MLP of width 4H, final norm, tied head. Weights start from
 * N(0, 0.02), the residual projections from N(0, 0.02 / sqrt(2 numLayers)) (Radford et al. 2019).
 * Raises config/unknown-key and config/invalid.
 *
 * @example
 * const model = merak.models.gpt({ vocabularySize: 256, contextLength: 64, numLayers: 2, numHeads: 2, hiddenSize: 32 });
 * const tokens = tf.zeros([1, 64], 'int32');
 * model.loss({ tokens, targets: tokens }, { training: true }).print();
 */
export function gpt(userConfig: GptConfig): Gpt {
  const config = checkConfig(userConfig);
  const { vocabularySize, contextLength, numLayers, numHeads, hiddenSize, seed, tiedEmbeddings } = config;
  const maker = variableMaker('gpt', seed);
  const tokenTable = maker.make('tokens', [vocabularySize, hiddenSize], normal(STDDEV));
  const positionTable = maker.make('positions', [contextLength, hiddenSize], normal(STDDEV));
  const residualStddev = STDDEV / Math.sqrt(2 * numLayers);
  const blocks = Array.from({ length: numLayers }, (_, layer) =>
    makeBlock(maker, `block${layer}`, hiddenSize, STDDEV, residualStddev),
  );
  const finalNorm = makeNorm(maker, 'norm', hiddenSize);
  const head = tiedEmbeddings ? null : maker.make('head', [hiddenSize, vocabularySize], normal(STDDEV));

  /** [b, T] -> [b, T, H] after the final norm. */
  function hidden(tokens: tf.Tensor, training: boolean): tf.Tensor {
    const length = tokens.shape[1] ?? 0;
    if (tokens.rank !== 2 || length > contextLength) {
      throw invalid('gpt', 'tokens', `[batch, up to ${contextLength}]`, `[${tokens.shape.join(', ')}]`);
    }
    const drop = (x: tf.Tensor): tf.Tensor => dropout(x, { rate: config.dropout, training });
    const positions = length === contextLength ? positionTable : tf.slice(positionTable, [0, 0], [length, hiddenSize]);
    let x = drop(tf.add(embedding(tokenTable, tokens), positions));
    for (const block of blocks) x = transform(x, block, drop);
    return normalise(x, finalNorm, EPSILON);
  }

  function transform(x: tf.Tensor, block: Block, drop: (x: tf.Tensor) => tf.Tensor): tf.Tensor {
    const { output: attended } = selfAttention(normalise(x, block.norm1, EPSILON), block, { numHeads, causal: true });
    const y = tf.add(x, drop(attended));
    return tf.add(y, drop(feedForward(normalise(y, block.norm2, EPSILON), block, 'tanh')));
  }

  /** [b, T] -> [b T, V]. */
  function logitRows(tokens: tf.Tensor, training: boolean): tf.Tensor {
    const rows = tf.reshape(hidden(tokens, training), [-1, hiddenSize]);
    return head === null ? tf.matMul(rows, tokenTable, false, true) : dense(rows, head);
  }

  function logits(tokens: tf.Tensor): tf.Tensor3D {
    return tf.tidy(() => tf.reshape(logitRows(tokens, false), [-1, tokens.shape[1] ?? 0, vocabularySize]));
  }

  return {
    config,
    parts: { tokenTable, positionTable, blocks, finalNorm, head },
    variables: maker.made,
    logits,
    predict: (batch) => logits(field('gpt', batch, 'tokens')),
    loss: (batch, { training }) =>
      tf.tidy(() => {
        const targets = tf.reshape(field('gpt', batch, 'targets'), [-1]);
        return tf.mean(softmaxCrossEntropy(logitRows(field('gpt', batch, 'tokens'), training), targets));
      }),
    dispose: () => tf.dispose(maker.made),
  };
}

function checkConfig(config: GptConfig): Required<GptConfig> {
  checkKeys('gpt', config, KNOWN_KEYS);
  const { vocabularySize, contextLength, numLayers, numHeads, hiddenSize } = config;
  checkPositiveIntegers('gpt', { vocabularySize, contextLength, numLayers, numHeads, hiddenSize });
  const { dropout: rate = 0, seed = 0, tiedEmbeddings = true } = config;
  if (hiddenSize % numHeads !== 0)
    throw invalid('gpt', 'hiddenSize', `a multiple of numHeads (${numHeads})`, hiddenSize);
  if (!(rate >= 0 && rate < 1)) throw invalid('gpt', 'dropout', 'a number in [0, 1)', rate);
  if (!Number.isSafeInteger(seed) || seed < 0) throw invalid('gpt', 'seed', 'a non-negative integer', seed);
  return { vocabularySize, contextLength, numLayers, numHeads, hiddenSize, dropout: rate, seed, tiedEmbeddings };
}
