/** Mean and covariance of any number of vectors in one pass: n, sum x and sum xx', all-reduced over the workers. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import { nn, type readers, type SpmdGroup, shard } from '../../index.js';
import type { TrainerContext } from '../context.js';

export interface Moments {
  readonly numRows: number;
  readonly mean: Float64Array;
  /** [size, size] by rows; divided by numRows - 1. */
  readonly covariance: Float64Array;
}

const FILE = 'moments.f64';

/**
 * Blocks are the same whatever the number of workers, each worker sums its rows of every block in float32, and blocks are
 * added in double precision, so that the result does not depend on the layout beyond the rounding within a block. Sums are
 * of differences from the first block's mean, so that a mean far from 0 does not drown the spread. Killed and resumed, the
 * pass goes on at the last saved block.
 *
 * @throws MerakError trainer/data: fewer than two rows, or fewer than workers
 */
export async function momentsOf(
  context: Pick<TrainerContext, 'iterate'>,
  name: string,
  group: SpmdGroup,
  source: readers.RowSource,
  blockRows: number,
): Promise<Moments> {
  const { numRows, size } = source;
  if (numRows < Math.max(2, group.numShards)) {
    throw new MerakError('trainer/data', 'there are too few vectors for a covariance', {
      path: name,
      expected: `${Math.max(2, group.numShards)} rows or more`,
      received: String(numRows),
    });
  }
  const sums = group.jit(
    (x: tf.Tensor, shift: tf.Tensor) => {
      const y = tf.sub(x, shift) as tf.Tensor2D;
      return { sum: nn.allReduce(tf.sum(y, 0)), products: nn.allReduce(tf.matMul(y, y, true)) };
    },
    { in: [shard(0), { placement: 'replicate' }] },
  );
  // shift, sum, products.
  const kept = new Float64Array(size * (size + 2));
  const blocks = blocksOf(numRows, blockRows);
  await context.iterate(name, {
    steps: blocks.length,
    keep: {
      save: (folder) => writeFile(join(folder, FILE), new Uint8Array(kept.buffer)),
      async load(folder) {
        const bytes = await readFile(join(folder, FILE));
        kept.set(new Float64Array(Uint8Array.from(bytes).buffer));
      },
    },
    async step(index) {
      const { begin, count } = blocks[index]!;
      const block = await source.read(begin, count);
      const x = tf.tensor2d(block, [count, size]);
      if (index === 0) kept.set(await x.mean(0).data(), 0);
      const shift = tf.tensor1d(Float32Array.from(kept.subarray(0, size)));
      const { sum, products } = await sums(x, shift);
      add(kept.subarray(size, 2 * size), await sum.data());
      add(kept.subarray(2 * size), await products.data());
      tf.dispose([x, shift, sum, products]);
      return {};
    },
  });
  await sums.dispose();
  return finish(kept, numRows, size);
}

/** The last block takes what remains with it, so that no block has fewer rows than workers for want of rows. */
function blocksOf(numRows: number, blockRows: number): { begin: number; count: number }[] {
  const numBlocks = Math.max(1, Math.floor(numRows / blockRows));
  return Array.from({ length: numBlocks }, (_, i) => {
    const begin = i * blockRows;
    return { begin, count: i === numBlocks - 1 ? numRows - begin : blockRows };
  });
}

function add(into: Float64Array, values: ArrayLike<number>): void {
  for (let i = 0; i < into.length; i++) into[i]! += values[i]!;
}

function finish(kept: Float64Array, numRows: number, size: number): Moments {
  const offset = kept.subarray(size, 2 * size).map((value) => value / numRows);
  const mean = offset.map((value, i) => kept[i]! + value);
  const covariance = kept.slice(2 * size);
  for (let i = 0, at = 0; i < size; i++) {
    for (let j = 0; j < size; j++, at++) {
      covariance[at] = (covariance[at]! - numRows * offset[i]! * offset[j]!) / (numRows - 1);
    }
  }
  return { numRows, mean, covariance };
}
