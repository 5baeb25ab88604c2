/** The configuration of an encoder, checked. */
import { checkKeys, checkPositiveIntegers, invalid } from './configuration.js';

export interface EncoderConfig {
  readonly vocabularySize: number;
  /** Longest sequence. */
  readonly contextLength: number;
  /** Blocks with weights of their own. */
  readonly numLayers: number;
  readonly numHeads: number;
  /** A multiple of `numHeads`. */
  readonly hiddenSize: number;
  /** Width inside the MLP of a block. Default 4 hiddenSize. */
  readonly feedForwardSize?: number;
  /** Number of token types ("segments"). Default 2. */
  readonly numSegments?: number;
  /** Width of the token table, which a projection widens to hiddenSize; null (default) is none. */
  readonly bottleneckSize?: number | null;
  /** How often the blocks run over, with the same weights. Default 1. */
  readonly numRepeats?: number;
  /** The row of the position table a sequence begins at: 0 (default), or 2 as RoBERTa and XLM-R have it. Padding stands on the right. */
  readonly positionOffset?: number;
  /** Of the norms. Default 1e-12; XLM-R has 1e-5. */
  readonly epsilon?: number;
  /** Rate on the embeddings and on both residual branches of a block. Default 0. */
  readonly dropout?: number;
  /** Keys the initial weights. Default 0. */
  readonly seed?: number;
  /** What variables' names begin with. Default the model's. */
  readonly name?: string;
}

const KNOWN_KEYS: readonly (keyof EncoderConfig)[] = [
  'vocabularySize',
  'contextLength',
  'numLayers',
  'numHeads',
  'hiddenSize',
  'feedForwardSize',
  'numSegments',
  'bottleneckSize',
  'numRepeats',
  'positionOffset',
  'epsilon',
  'dropout',
  'seed',
  'name',
];

/** @throws MerakError config/unknown-key, config/invalid */
export function checkEncoderConfig(model: string, config: EncoderConfig): Required<EncoderConfig> {
  checkKeys(model, config, KNOWN_KEYS);
  const { vocabularySize, contextLength, numLayers, numHeads, hiddenSize } = config;
  const { feedForwardSize = 4 * hiddenSize, numSegments = 2, numRepeats = 1, bottleneckSize = null } = config;
  const counts = {
    vocabularySize,
    contextLength,
    numLayers,
    numHeads,
    hiddenSize,
    feedForwardSize,
    numSegments,
    numRepeats,
  };
  checkPositiveIntegers(model, bottleneckSize === null ? counts : { ...counts, bottleneckSize });
  const { positionOffset = 0, epsilon = 1e-12, dropout = 0, seed = 0, name = model } = config;
  if (hiddenSize % numHeads !== 0)
    throw invalid(model, 'hiddenSize', `a multiple of numHeads (${numHeads})`, hiddenSize);
  for (const [key, value] of Object.entries({ positionOffset, seed })) {
    if (!Number.isSafeInteger(value) || value < 0) throw invalid(model, key, 'a non-negative integer', value);
  }
  if (!(epsilon > 0)) throw invalid(model, 'epsilon', 'a positive number', epsilon);
  if (!(dropout >= 0 && dropout < 1)) throw invalid(model, 'dropout', 'a number in [0, 1)', dropout);
  return { ...counts, bottleneckSize, positionOffset, epsilon, dropout, seed, name };
}
