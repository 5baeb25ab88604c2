/** The configuration of an encoder-decoder, checked. */
import { checkKeys, checkPositiveIntegers, invalid } from './configuration.js';

export interface EncoderDecoderConfig {
  readonly vocabularySize: number;
  /** Longest source sequence. */
  readonly sourceLength: number;
  /** Longest target sequence. */
  readonly targetLength: number;
  readonly numEncoderLayers: number;
  readonly numDecoderLayers: number;
  readonly numHeads: number;
  /** A multiple of `numHeads`. */
  readonly hiddenSize: number;
  /** Width inside the MLP of a block. Default 4 hiddenSize. */
  readonly feedForwardSize?: number;
  /** Rate on the embeddings and on the residual branches of a block. Default 0. */
  readonly dropout?: number;
  /** Keys the initial weights. Default 0. */
  readonly seed?: number;
  /** What variables' names begin with. Default 'encoder-decoder'. */
  readonly name?: string;
}

const MODEL = 'encoderDecoder';
const KNOWN_KEYS: readonly (keyof EncoderDecoderConfig)[] = [
  'vocabularySize',
  'sourceLength',
  'targetLength',
  'numEncoderLayers',
  'numDecoderLayers',
  'numHeads',
  'hiddenSize',
  'feedForwardSize',
  'dropout',
  'seed',
  'name',
];

/** @throws MerakError config/unknown-key, config/invalid */
export function checkEncoderDecoderConfig(config: EncoderDecoderConfig): Required<EncoderDecoderConfig> {
  checkKeys(MODEL, config, KNOWN_KEYS);
  const { vocabularySize, sourceLength, targetLength, numEncoderLayers, numDecoderLayers, numHeads, hiddenSize } =
    config;
  const { feedForwardSize = 4 * hiddenSize, dropout = 0, seed = 0, name = 'encoder-decoder' } = config;
  const counts = {
    ...{ vocabularySize, sourceLength, targetLength, numEncoderLayers, numDecoderLayers },
    ...{ numHeads, hiddenSize, feedForwardSize },
  };
  checkPositiveIntegers(MODEL, counts);
  if (hiddenSize % numHeads !== 0)
    throw invalid(MODEL, 'hiddenSize', `a multiple of numHeads (${numHeads})`, hiddenSize);
  if (!(dropout >= 0 && dropout < 1)) throw invalid(MODEL, 'dropout', 'a number in [0, 1)', dropout);
  if (!Number.isSafeInteger(seed) || seed < 0) throw invalid(MODEL, 'seed', 'a non-negative integer', seed);
  return { ...counts, dropout, seed, name };
}
