/** merak.greedyDecode: what an encoder-decoder makes of a source, the likeliest token at every step. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import type { DecoderState } from '../models/decoding.js';
import type { EncoderDecoder } from '../models/encoderDecoder.js';
import type { Batch } from '../trace/model.js';
import { type JitOptions, jit } from './jit.js';

export interface GreedyOptions extends Pick<JitOptions, 'threads'> {
  /** What the decoder reads first. */
  readonly beginId: number;
  /** Ends a row; it is not part of the result. */
  readonly endId: number;
  /** Tokens a row at most. Default: the model's targetLength. */
  readonly maxLength?: number;
  /** Rows decoded together. Default 64. */
  readonly batchSize?: number;
}

/**
 * Token ids of every row, up to `endId` or `maxLength`, on the native engine. Fields of `source`: `tokens` [n, S] int32, optionally
 * `mask` [n, S] int32.
 *
 * @throws MerakError config/invalid: maxLength is no number of tokens that the model has positions for
 * @example
 * const [ids] = await merak.greedyDecode(model, { tokens, mask }, { beginId: 2, endId: 3 });
 */
export async function greedyDecode(
  model: EncoderDecoder,
  source: Batch,
  { beginId, endId, maxLength = model.config.targetLength, batchSize = 64, ...options }: GreedyOptions,
): Promise<number[][]> {
  const { targetLength } = model.config;
  if (!Number.isSafeInteger(maxLength) || maxLength < 1 || maxLength > targetLength) {
    throw new MerakError('config/invalid', 'maxLength does not fit the model', {
      path: 'greedyDecode: maxLength',
      expected: `an integer from 1 to targetLength = ${targetLength}`,
      received: String(maxLength),
    });
  }
  const start = jit(model.start, options);
  const step = jit((state: DecoderState, token: tf.Tensor, at: tf.Tensor) => {
    const { logits, target } = model.step(state, token, at);
    return { token: tf.argMax(logits, -1), target };
  }, options);
  const numRows = source.tokens?.shape[0] ?? 0;
  const decoded: number[][] = [];
  try {
    for (let from = 0; from < numRows; from += batchSize) {
      const size = Math.min(batchSize, numRows - from);
      const part = Object.fromEntries(
        Object.entries(source).map(([name, tensor]) => [
          name,
          tf.slice(tensor, [from, ...tensor.shape.slice(1).map(() => 0)], [size, ...tensor.shape.slice(1)]),
        ]),
      );
      decoded.push(...(await rows(part, size)));
      tf.dispose(part);
    }
    return decoded;
  } finally {
    start.dispose();
    step.dispose();
  }

  async function rows(part: Batch, size: number): Promise<number[][]> {
    const made = Array.from({ length: size }, (): number[] => []);
    const ended = new Array<boolean>(size).fill(false);
    let state = await start(part);
    let token: tf.Tensor = tf.fill([size], beginId, 'int32');
    for (let at = 0; at < maxLength && !ended.every(Boolean); at++) {
      const place = tf.scalar(at, 'int32');
      const after = await step(state, token, place);
      tf.dispose([place, token]);
      disposeParts(state.target);
      token = after.token;
      state = { ...state, target: after.target };
      for (const [row, id] of (await token.data()).entries()) {
        if (id === endId) ended[row] = true;
        if (ended[row] !== true) made[row]!.push(id);
      }
    }
    token.dispose();
    disposeParts(state.target);
    disposeParts(state.memory);
    state.mask?.dispose();
    return made;
  }
}

function disposeParts(parts: DecoderState['target']): void {
  for (const { k, v } of parts) tf.dispose([k, v]);
}
