/** merak.spmd on cards: states, products and collectives give what the processor gives, with one worker and with two on one card. */
import * as tf from '@tensorflow/tfjs';
import { expect, it, vi } from 'vitest';
import * as merak from '../../src/index.js';
import { difference, random } from '../api/spmd/draw.js';
import { useStandIns } from './card.js';

useStandIns();
vi.setConfig({ testTimeout: 300_000 });

const ROWS = 23;
const WIDTH = 7;

/** Three rounds of the power method: a state on the workers' rows, a product of all rows, an all-reduce. */
async function power(workers: number, device: 'native' | 'cuda') {
  const group = await merak.spmd({ workers, device, threadsPerWorker: 1, logDir: 'runs/test' });
  const rows = group.state('rows', { shape: [ROWS, WIDTH], placement: merak.shard(0) });
  const fill = group.jit((x: tf.Tensor2D) => rows.value.assign(tf.tanh(x)), { in: [merak.shard(0)] });
  const round = group.jit((v: tf.Tensor2D) => {
    const own = rows.value as tf.Tensor2D;
    const next = merak.nn.allReduce(tf.matMul(own, tf.matMul(own, v), true));
    const norm = tf.sqrt(tf.sum(tf.square(next)));
    return { direction: tf.div(next, norm) as tf.Tensor2D, norm };
  });
  try {
    const given = random([ROWS, WIDTH], 1);
    await fill(given);
    let direction = tf.ones([WIDTH, 1]) as tf.Tensor2D;
    let norm = tf.scalar(0) as tf.Tensor;
    for (let i = 0; i < 3; i++) ({ direction, norm } = await round(direction));
    return { direction, norm };
  } finally {
    await group.close();
  }
}

it.each([1, 2])('%i workers', async (workers) => {
  await tf.setBackend('cpu');
  const [card, host] = [await power(workers, 'cuda'), await power(1, 'native')];
  expect(difference(card.direction, host.direction)).toBeLessThan(1e-5);
  expect(difference(card.norm, host.norm)).toBeLessThan(1e-5);
});
