/** Splitting a tensor's dim into a rank's shard and putting shards back, as `Layout` describes it. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';

/**
 * Shard `index` of `degree` of `dim`: the dim, zero-padded to `paddedSize`, is seen as `[parts, paddedSize / parts]` and
 * every part is split evenly.
 */
export function takeShard(
  x: tf.Tensor,
  dim: number,
  parts: number,
  paddedSize: number,
  degree: number,
  index: number,
): tf.Tensor {
  const padding = paddedSize - x.shape[dim]!;
  if (padding < 0 || paddedSize % (parts * degree) !== 0 || (padding > 0 && parts > 1)) {
    throw new MerakError('engine/kernel', `a dim of ${x.shape[dim]} cannot be sharded`, {
      received: `parts ${parts}, paddedSize ${paddedSize}, degree ${degree}`,
    });
  }
  const whole =
    padding === 0
      ? x
      : tf.pad(
          x,
          x.shape.map((_, d): [number, number] => [0, d === dim ? padding : 0]),
        );
  const piece = paddedSize / parts / degree;
  const pieces = Array.from({ length: parts }, (_, part) => cut(whole, dim, (part * degree + index) * piece, piece));
  return tf.concat(pieces, dim);
}

/** The whole value from every rank's shard in rank order; `size` drops the padding. */
export function mergeShards(shards: readonly tf.Tensor[], dim: number, parts: number, size: number): tf.Tensor {
  const pieces: tf.Tensor[] = [];
  for (let part = 0; part < parts; part++) {
    for (const shard of shards) {
      const piece = shard.shape[dim]! / parts;
      pieces.push(cut(shard, dim, part * piece, piece));
    }
  }
  return cut(tf.concat(pieces, dim), dim, 0, size);
}

function cut(x: tf.Tensor, dim: number, begin: number, length: number): tf.Tensor {
  const begins = x.shape.map((_, d) => (d === dim ? begin : 0));
  const sizes = x.shape.map((whole, d) => (d === dim ? length : whole));
  return tf.slice(x, begins, sizes);
}
