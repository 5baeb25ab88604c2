/** The least reduced costs of every row and column, by blocks of rows. */
import * as tf from '@tensorflow/tfjs';
import type { Scan } from './support.js';

/** By blocks of rows of left right' (the reduced costs), which is never formed whole. */
export function scanBlocks(left: tf.Tensor2D, right: tf.Tensor2D, firstRow: number, blockRows: number) {
  const numRows = left.shape[0];
  const perRow: { columns: tf.Tensor1D; costs: tf.Tensor1D }[] = [];
  let best: { rows: tf.Tensor1D; costs: tf.Tensor1D } | undefined;
  for (let begin = 0; begin < numRows; begin += blockRows) {
    const size = Math.min(blockRows, numRows - begin);
    const block = tf.matMul(tf.slice(left, [begin, 0], [size, left.shape[1]]), right, false, true);
    perRow.push({ columns: tf.argMin(block, 1), costs: tf.min(block, 1) });
    const costs = tf.min(block, 0) as tf.Tensor1D;
    const rows = tf.add(tf.argMin(block, 0), tf.scalar(firstRow + begin, 'int32')) as tf.Tensor1D;
    const better = best === undefined ? undefined : tf.less(costs, best.costs);
    best =
      best === undefined || better === undefined
        ? { rows, costs }
        : { rows: tf.where(better, rows, best.rows), costs: tf.minimum(costs, best.costs) };
  }
  return {
    rowColumns: joinedVectors(perRow.map(({ columns }) => columns)),
    rowCosts: joinedVectors(perRow.map(({ costs }) => costs)),
    columnRows: tf.expandDims(best!.rows, 0),
    columnCosts: tf.expandDims(best!.costs, 0),
  };
}

/** The best of the workers' best, of equals the first. */
export async function bestOfColumns(
  found: { readonly columnRows: tf.Tensor; readonly columnCosts: tf.Tensor },
  numColumns: number,
): Promise<Pick<Scan, 'columnRows' | 'columnCosts'>> {
  const rows = (await found.columnRows.data()) as Int32Array;
  const costs = (await found.columnCosts.data()) as Float32Array;
  const columnRows = rows.slice(0, numColumns);
  const columnCosts = costs.slice(0, numColumns);
  for (let at = numColumns; at < costs.length; at++) {
    const j = at % numColumns;
    if (costs[at]! >= columnCosts[j]!) continue;
    columnCosts[j] = costs[at]!;
    columnRows[j] = rows[at]!;
  }
  return { columnRows, columnCosts };
}

function joinedVectors(parts: tf.Tensor1D[]): tf.Tensor1D {
  return parts.length === 1 ? parts[0]! : tf.concat(parts);
}
