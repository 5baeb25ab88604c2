/** Random windows of a token stream: batches for language models. */
import { MerakError } from '../errors.js';
import { DRAW_WINDOW, drawBelow } from './draw.js';
import type { BatchSource } from './source.js';

export interface TokenWindowOptions {
  readonly contextLength: number;
  readonly batchSize: number;
  /** Batches that make an epoch. */
  readonly numBatches: number;
  readonly seed?: number;
}

/**
 * Each sample is `contextLength` tokens from a random position (`tokens` [B,T]) and the same shifted by one (`targets`
 * [B,T]). Window i of the run depends on (seed, i) alone.
 *
 * @example
 * const data = tokenWindows(tokens, { contextLength: 128, batchSize: 16, numBatches: 200 });
 * await parallel.fitDataset(data, { epochs: 1 });
 */
export function tokenWindows(tokens: ArrayLike<number>, options: TokenWindowOptions): BatchSource {
  const { contextLength, batchSize, numBatches, seed = 0 } = options;
  const numStarts = tokens.length - contextLength;
  if (numStarts < 1) {
    throw new MerakError('config/invalid', 'the text is shorter than one window', {
      path: 'tokenWindows',
      expected: `more than contextLength = ${contextLength} tokens`,
      received: `${tokens.length} tokens`,
    });
  }
  const spec = (name: string) => ({ name, shape: [contextLength], dtype: 'int32' as const });
  return {
    fields: [spec('tokens'), spec('targets')],
    batchSize,
    numBatches,
    async batch(epoch, index) {
      if (index >= numBatches) return null;
      const inputs = new Int32Array(batchSize * contextLength);
      const targets = new Int32Array(batchSize * contextLength);
      for (let sample = 0; sample < batchSize; sample++) {
        const start = drawBelow(numStarts, seed, DRAW_WINDOW, epoch, index * batchSize + sample);
        for (let t = 0; t < contextLength; t++) {
          inputs[sample * contextLength + t] = tokens[start + t]!;
          targets[sample * contextLength + t] = tokens[start + t + 1]!;
        }
      }
      return {
        size: batchSize,
        fields: new Map([
          ['tokens', inputs],
          ['targets', targets],
        ]),
      };
    },
  };
}
