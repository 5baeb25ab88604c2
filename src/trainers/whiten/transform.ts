/** The whitening transform of Su et al. 2021: x -> (x - mean) U diag(lambda^-1/2), the first k columns. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import { type readers, type SpmdGroup, shard } from '../../index.js';
import { type Eigen, symmetricEigen } from '../linalg/symmetricEigen.js';
import type { Moments } from '../statistics/moments.js';

export interface Whitening {
  readonly size: number;
  /** Columns of the matrix: as asked for, or as many as have variance. */
  readonly numComponents: number;
  readonly mean: Float32Array;
  /** [size, numComponents] by rows. */
  readonly matrix: Float32Array;
  /** All of the covariance, descending. */
  readonly variances: Float64Array;
}

/** Variance below so much of the largest is rounding in float32 vectors. */
const RELATIVE_FLOOR = 1e-7;

/**
 * One transform for each number of columns to keep; -1 is all. Those whose variance is `eps` or less, or rounding, are left
 * out, and transforms that come out the same are given once.
 *
 * @throws MerakError trainer/data: all vectors are the same
 */
export function whitenings({ mean, covariance }: Moments, numComponents: readonly number[], eps: number): Whitening[] {
  const eigen = symmetricEigen(covariance, mean.length);
  const made = numComponents.map((columns) => whiteningOf(mean, eigen, columns, eps));
  return made.filter((one, i) => made.findIndex((other) => other.numComponents === one.numComponents) === i);
}

function whiteningOf(mean: Float64Array, { values, vectors }: Eigen, numComponents: number, eps: number): Whitening {
  const size = mean.length;
  const floor = Math.max(eps, values[0]! * RELATIVE_FLOOR);
  const numSpread = values.filter((value) => value > floor).length;
  if (numSpread === 0) {
    throw new MerakError('trainer/data', 'the vectors do not differ: there is no variance to whiten', {
      path: 'covariance',
      received: `a largest variance of ${values[0]}`,
    });
  }
  const kept = numComponents === -1 ? numSpread : Math.min(numComponents, numSpread);
  const matrix = new Float32Array(size * kept);
  for (let column = 0; column < kept; column++) {
    const scale = 1 / Math.sqrt(values[column]!);
    for (let row = 0; row < size; row++) matrix[row * kept + column] = vectors[column * size + row]! * scale;
  }
  return { size, numComponents: kept, mean: Float32Array.from(mean), matrix, variances: values };
}

/** Blocks of whitened rows, each worker its part. */
export async function* whitened(
  group: SpmdGroup,
  source: readers.RowSource,
  { size, numComponents, mean, matrix }: Whitening,
  blockRows: number,
): AsyncGenerator<Float32Array> {
  const apply = group.jit(
    (x: tf.Tensor, centre: tf.Tensor, w: tf.Tensor) => tf.matMul(tf.sub(x, centre) as tf.Tensor2D, w as tf.Tensor2D),
    { in: [shard(0), { placement: 'replicate' }, { placement: 'replicate' }], out: shard(0) },
  );
  const constants = [tf.tensor1d(mean), tf.tensor2d(matrix, [size, numComponents])] as const;
  try {
    for (let begin = 0; begin < source.numRows; begin += blockRows) {
      const count = Math.min(blockRows, source.numRows - begin);
      // A last block of fewer rows than workers reaches back; what it has twice is dropped.
      const reach = Math.max(0, Math.min(begin, group.numShards - count));
      const x = tf.tensor2d(await source.read(begin - reach, count + reach), [count + reach, size]);
      const y = await apply(x, ...constants);
      const data = (await y.data()) as Float32Array;
      tf.dispose([x, y]);
      yield reach === 0 ? data : data.slice(reach * numComponents);
    }
  } finally {
    tf.dispose([...constants]);
    await apply.dispose();
  }
}

/** All whitened rows, [rows, numComponents]. */
export async function whitenAll(
  group: SpmdGroup,
  source: readers.RowSource,
  whitening: Whitening,
  blockRows: number,
): Promise<Float32Array> {
  const out = new Float32Array(source.numRows * whitening.numComponents);
  let at = 0;
  for await (const block of whitened(group, source, whitening, blockRows)) {
    out.set(block, at);
    at += block.length;
  }
  return out;
}
