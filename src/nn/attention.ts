/** nn.attention. */
import type * as tf from '@tensorflow/tfjs';
import { checkDtype, checkShapes } from './arguments.js';
import { callKernelMany } from './call.js';

export interface AttentionArguments {
  /** Queries, [B, Tq, h, d]. */
  readonly q: tf.Tensor;
  /** Keys, [B, Tk, h, d]. */
  readonly k: tf.Tensor;
  /** Values, [B, Tk, h, d]. */
  readonly v: tf.Tensor;
  /** [B, Tk] int32: 1 keeps a key, 0 drops it (padding). */
  readonly mask?: tf.Tensor;
  /** Query i sees the keys up to i only (up to i + Tk - Tq when the lengths differ). Default false. */
  readonly causal?: boolean;
  /** Factor on q k^T. Default 1 / sqrt(d). */
  readonly scale?: number;
}

/**
 * Scaled dot-product attention for every head: softmax(scale q k^T) v. Returns [B, Tq, h, d]; a query that sees no key
 * gives 0. Raises config/invalid on shapes that do not agree.
 *
 * @example
 * const x = tf.randomNormal([2, 5, 4, 8]); // 2 samples, 5 positions, 4 heads of 8
 * const y = merak.nn.attention({ q: x, k: x, v: x, causal: true });
 */
export function attention(args: AttentionArguments): tf.Tensor4D {
  const { q, k, v, mask, causal = false } = args;
  checkShapes('attention', [
    ['q', q, ['B', 'Tq', 'h', 'd']],
    ['k', k, ['B', 'Tk', 'h', 'd']],
    ['v', v, ['B', 'Tk', 'h', 'd']],
  ]);
  const inputs: tf.NamedTensorMap = { q, k, v };
  if (mask !== undefined) {
    checkShapes('attention', [['mask', mask, [k.shape[0]!, k.shape[1]!]]]);
    checkDtype('attention', 'mask', mask, 'int32');
    inputs.mask = mask;
  }
  const scale = args.scale ?? 1 / Math.sqrt(q.shape[3]!);
  return callKernelMany('MerakAttention', inputs, { causal, scale })[0] as tf.Tensor4D;
}
