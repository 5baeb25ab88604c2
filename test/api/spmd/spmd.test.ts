/** Functions on 1 to 4 workers against plain tfjs: every layout gives what one process gives. */
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SpmdGroup } from '../../../src/index.js';
import * as merak from '../../../src/index.js';
import { difference, random } from './draw.js';

const groups: SpmdGroup[] = [];
beforeAll(async () => {
  await tf.setBackend('cpu');
  for (const workers of [1, 2, 3, 4]) {
    groups.push(await merak.spmd({ workers, threadsPerWorker: 1, logDir: 'runs/test' }));
  }
});
afterAll(async () => {
  await Promise.all(groups.map((group) => group.close()));
});

const ROWS = 23;
const a = random([ROWS, 7], 1);
const b = random([7, 5], 2);

describe.each([1, 2, 3, 4])('%i workers', (workers) => {
  const group = () => groups[workers - 1]!;

  it('chain matrix products over rows', async () => {
    const f = group().jit((x: tf.Tensor2D, w: tf.Tensor2D) => tf.tanh(tf.matMul(x, w)), {
      in: [merak.shard(0), merak.replicate],
      out: merak.shard(0),
    });
    const y = await f(a, b);
    expect(y.shape).toEqual([ROWS, 5]);
    expect(difference(y, tf.tanh(tf.matMul(a, b)))).toBeLessThan(1e-6);
  });

  it('reduce moments', async () => {
    const f = group().jit(
      (x: tf.Tensor2D) => ({
        sum: merak.nn.allReduce(x.sum(0)),
        mean: merak.nn.allReduce(tf.sum(x, 0), 'mean'),
        squares: merak.nn.allReduce(tf.matMul(x, x, true)),
        largest: merak.nn.allReduce(x.max(0), 'max'),
        smallest: merak.nn.allReduce(x.min(0), 'min'),
      }),
      { in: merak.shard() },
    );
    const found = await f(a);
    expect(difference(found.sum, a.sum(0))).toBeLessThan(1e-6);
    expect(difference(found.mean, a.sum(0).div(workers))).toBeLessThan(1e-6);
    expect(difference(found.squares, tf.matMul(a, a, true))).toBeLessThan(1e-6);
    expect(difference(found.largest, a.max(0))).toBe(0);
    expect(difference(found.smallest, a.min(0))).toBe(0);
  });

  it('take log-sum-exp along rows and along columns', async () => {
    const f = group().jit(
      (x: tf.Tensor2D) => {
        const largest = merak.nn.allReduce(x.max(0, true), 'max');
        const sum = merak.nn.allReduce(tf.exp(tf.sub(x, largest)).sum(0, true));
        return { rows: tf.logSumExp(x, 1), columns: tf.add(largest, tf.log(sum)) };
      },
      { in: [merak.shard(0)], out: { rows: merak.shard(0) } },
    );
    const x = a.mul(30) as tf.Tensor2D;
    const { rows, columns } = await f(x);
    expect(difference(rows, tf.logSumExp(x, 1))).toBeLessThan(1e-6);
    expect(difference(columns, tf.logSumExp(x, 0, true))).toBeLessThan(1e-6);
  });

  it('gather uneven rows of any dim, dtype and order', async () => {
    const f = group().jit(
      (x: tf.Tensor2D, columns: tf.Tensor2D, ids: tf.Tensor1D) => ({
        whole: merak.nn.allGather(x),
        turned: merak.nn.allGather(columns, { dim: 1 }),
        ids: merak.nn.allGather(ids),
        own: merak.nn.ownShard(merak.nn.allGather(x)),
        numbers: tf.fill([1], merak.nn.axisIndex() + 10 * merak.nn.numShards(), 'int32'),
      }),
      {
        in: [merak.shard(0), merak.shard(1), merak.shard(0)],
        out: { own: merak.shard(0), numbers: merak.shard(0) },
      },
    );
    const ids = tf.range(0, ROWS, 1, 'int32');
    const found = await f(a, a.transpose() as tf.Tensor2D, ids);
    expect(difference(found.whole, a)).toBe(0);
    expect(difference(found.turned, a.transpose())).toBe(0);
    expect(difference(found.own, a)).toBe(0);
    expect(found.ids.arraySync()).toEqual(ids.arraySync());
    expect(found.numbers.arraySync()).toEqual(Array.from({ length: workers }, (_, i) => i + 10 * workers));
  });

  it('keep states between calls', async () => {
    const scaling = group().state('scaling', { initial: a, placement: merak.shard(0) });
    const steps = group().state('steps', { shape: [], dtype: 'int32' });
    const weights = tf.variable(b.clone());
    const f = group().jit((factor: tf.Scalar) => {
      scaling.value.assign(tf.mul(scaling.value, factor));
      steps.value.assign(tf.add(steps.value, tf.scalar(1, 'int32')));
      return merak.nn.allReduce(tf.matMul(scaling.value as tf.Tensor2D, weights as tf.Tensor2D).sum());
    });
    for (let i = 0; i < 3; i++) await f(tf.scalar(2));
    weights.assign(tf.zeros([7, 5]));
    expect((await f(tf.scalar(1))).arraySync()).toBe(0);
    expect(f.numTraces).toBe(1);
    expect(difference(await scaling.read(), a.mul(8))).toBe(0);
    expect((await steps.read()).arraySync()).toBe(4);
    await scaling.write(b.matMul(tf.zeros([5, ROWS])).transpose());
    await f(tf.scalar(2));
    expect((await scaling.read()).abs().max().arraySync()).toBe(0);
    weights.dispose();
  });

  it('draw the same numbers for the same rows', async () => {
    const f = group().jit(
      (x: tf.Tensor2D) => ({
        dropped: merak.nn.dropout(x, { rate: 0.4, training: true }),
        noise: merak.nn.randomNormal(x.shape, 0, 1, { batchDim: 0 }),
        common: merak.nn.randomUniform([3]),
      }),
      { in: merak.shard(0), out: { dropped: merak.shard(0), noise: merak.shard(0) } },
    );
    const alone = merak.jit((x: tf.Tensor2D) => ({
      dropped: merak.nn.dropout(x, { rate: 0.4, training: true }),
      noise: merak.nn.randomNormal(x.shape, 0, 1, { batchDim: 0 }),
      common: merak.nn.randomUniform([3]),
    }));
    const [found, expected] = [await f(a), await alone(a)];
    for (const name of ['dropped', 'noise', 'common'] as const) {
      expect(difference(found[name], expected[name])).toBeLessThan(1e-6);
    }
    alone.dispose();
  });
});
