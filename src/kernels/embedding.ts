/** MerakEmbedding: rows of a table by id, whole or one shard of the rows. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { booleanAttr, numberAttr } from './attributes.js';
import { input, type KernelDefinition, noGradient } from './definition.js';

/** Row of each id in the local table (0 when it is elsewhere) and whether it is local, both [N]. */
function localRows(ids: tf.Tensor, numRows: number, attrs: tf.NamedAttrMap): { row: tf.Tensor; local: tf.Tensor } {
  const row = tf.sub(tf.reshape(ids, [-1]), tf.scalar(numberAttr(attrs, 'vocabOffset', 0), 'int32'));
  const local = tf.logicalAnd(tf.greaterEqual(row, tf.scalar(0, 'int32')), tf.less(row, tf.scalar(numRows, 'int32')));
  if (!booleanAttr(attrs, 'sharded', false)) checkIds(ids, numRows);
  return { row: tf.mul(row, tf.cast(local, 'int32')), local };
}

/** Rows [N,H] where `local` [N], zeros elsewhere. */
function keepRows(rows: tf.Tensor, local: tf.Tensor): tf.Tensor {
  return tf.where(tf.broadcastTo(tf.expandDims(local, 1), rows.shape), rows, tf.zerosLike(rows));
}

function checkIds(ids: tf.Tensor, numRows: number): void {
  const worst = ids.dataSync().find((id) => id < 0 || id >= numRows);
  if (worst === undefined) return;
  throw new MerakError('engine/kernel', 'an embedding id is out of range', {
    expected: `an integer in [0, ${numRows})`,
    received: String(worst),
  });
}

export const embedding: KernelDefinition = {
  kernel: 'MerakEmbedding',
  inputs: ['table', 'ids'],
  reference(inputs, attrs) {
    const table = input(inputs, 'table');
    const ids = input(inputs, 'ids');
    const [numRows = 0, width = 0] = table.shape;
    const { row, local } = localRows(ids, numRows, attrs);
    return tf.reshape(keepRows(tf.gather(table, row), local), [...ids.shape, width]);
  },
  gradient: {
    inputsToSave: ['table', 'ids'],
    gradFunc(dy, saved, attrs) {
      const [table, ids] = saved as [tf.Tensor, tf.Tensor];
      const gradAttrs = {
        vocabSize: table.shape[0] ?? 0,
        vocabOffset: numberAttr(attrs, 'vocabOffset', 0),
        sharded: booleanAttr(attrs, 'sharded', false),
      };
      return {
        table: () => tf.engine().runKernel<tf.Tensor>('MerakEmbeddingGrad', { dy: dy as tf.Tensor, ids }, gradAttrs),
        ids: noGradient(ids),
      };
    },
  },
};

export const embeddingGrad: KernelDefinition = {
  kernel: 'MerakEmbeddingGrad',
  inputs: ['dy', 'ids'],
  reference(inputs, attrs) {
    const dy = input(inputs, 'dy');
    const width = dy.shape[dy.rank - 1] ?? 0;
    const numRows = numberAttr(attrs, 'vocabSize');
    const { row, local } = localRows(input(inputs, 'ids'), numRows, attrs);
    const updates = keepRows(tf.reshape(dy, [-1, width]), local);
    return tf.scatterND(tf.cast(tf.expandDims(row, 1), 'int32'), updates, [numRows, width]);
  },
};
