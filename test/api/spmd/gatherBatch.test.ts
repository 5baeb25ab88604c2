/** Losses over the global batch inside `wrap`: replicas that gather train as one process does. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import * as merak from '../../../src/index.js';
import { random } from './draw.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const [SAMPLES, WIDTH, HIDDEN] = [24, 6, 5];
const data = { anchors: random([SAMPLES, WIDTH], 1), positives: random([SAMPLES, WIDTH], 2) };

function encoder() {
  const initial = [random([WIDTH, HIDDEN], 3), random([HIDDEN, HIDDEN], 4)];
  const [first, second] = initial.map((value) => tf.variable(value.mul(0.5)));
  const encode = (x: tf.Tensor): tf.Tensor2D => tf.matMul(tf.tanh(tf.matMul(x as tf.Tensor2D, first!)), second!);
  return { encode, variables: [first!, second!] };
}

/** InfoNCE over all pairs of the batch, both ways, and a statistic of the whole batch as metric. */
function contrastive() {
  const { encode, variables } = encoder();
  const loss = (batch: merak.Batch) => {
    const a = merak.nn.gatherBatch(encode(batch.anchors!));
    const p = merak.nn.gatherBatch(encode(batch.positives!));
    const scores = tf.matMul(a, p, false, true);
    const diagonal = tf.sum(tf.mul(a, p), 1);
    const one = tf.sub(tf.logSumExp(scores, 1), diagonal).mean();
    const other = tf.sub(tf.logSumExp(scores, 0), diagonal).mean();
    // What every sample has, whichever replica it is on, and without this the gradient would not meet allReduce.
    const spread = merak.nn.allReduce(tf.square(encode(batch.anchors!)).mean(), 'mean');
    return { loss: tf.addN([one, other, tf.sqrt(spread)]), spread };
  };
  return { loss, variables };
}

type Layout = { dp?: number; tp?: number; pp?: number; workers?: number; microBatches?: number; subBatches?: number };

async function train(options: Layout, batchSize = 8) {
  const { loss, variables } = contrastive();
  const parallel = await merak.wrap(loss, {
    optimizer: tf.train.momentum(0.05, 0.5),
    seed: 3,
    threadsPerWorker: 1,
    logDir: 'runs/test',
    ...options,
  });
  try {
    const losses: number[] = [];
    const history = await parallel.fit(data, {
      batchSize,
      epochs: 2,
      verbose: 0,
      callbacks: { onBatchEnd: (_, logs) => void losses.push(logs!.loss!, logs!.spread!) },
      validationData: { anchors: data.positives, positives: data.anchors },
    });
    losses.push(...(history.history.val_loss as number[]));
    return { losses, parameters: variables.map((variable) => variable.dataSync().slice()) };
  } finally {
    await parallel.close();
    for (const variable of variables) variable.dispose();
  }
}

/** The same loss in plain tfjs, the first batch: an independent reference. */
function firstLoss(indices: readonly number[]): number {
  const { encode, variables } = encoder();
  const rows = tf.tensor1d([...indices], 'int32');
  const [a, p] = [encode(tf.gather(data.anchors, rows)), encode(tf.gather(data.positives, rows))];
  const scores = tf.matMul(a, p, false, true).arraySync() as number[][];
  const n = indices.length;
  let total = 0;
  for (let i = 0; i < n; i++) {
    const row = scores[i]!.reduce((sum, value) => sum + Math.exp(value), 0);
    const column = scores.reduce((sum, each) => sum + Math.exp(each[i]!), 0);
    total += (Math.log(row) + Math.log(column) - 2 * scores[i]![i]!) / n;
  }
  const spread = a.square().mean().arraySync() as number;
  for (const variable of variables) variable.dispose();
  return total + Math.sqrt(spread);
}

describe('a contrastive loss over the global batch', () => {
  let alone: Awaited<ReturnType<typeof train>>;
  beforeAll(async () => {
    alone = await train({});
  });

  it.each([[{ dp: 2 }], [{ dp: 2, pp: 2 }], [{ dp: 2, tp: 2 }], [{ workers: 2 }]] as [Layout][])(
    'is the same with %j',
    async (layout) => {
      const found = await train(layout);
      for (const [i, loss] of found.losses.entries()) expect(Math.abs(loss / alone.losses[i]! - 1)).toBeLessThan(1e-5);
      expect(found.losses).toHaveLength(alone.losses.length);
      for (const [i, parameter] of found.parameters.entries()) {
        const differences = Array.from(parameter, (value, at) => Math.abs(value - alone.parameters[i]![at]!));
        expect(Math.max(...differences)).toBeLessThan(1e-5);
      }
    },
  );

  it('is the same where the last batch does not divide', async () => {
    const [one, two] = [await train({}, 14), await train({ dp: 2 }, 14)];
    for (const [i, loss] of two.losses.entries()) expect(Math.abs(loss / one.losses[i]! - 1)).toBeLessThan(1e-5);
  });

  it('is the loss as written', async () => {
    const { loss, variables } = contrastive();
    const parallel = await merak.wrap(loss, { optimizer: tf.train.sgd(0), dp: 2, logDir: 'runs/test' });
    const batch = { anchors: data.anchors.slice(0, 8), positives: data.positives.slice(0, 8) };
    const { history } = await parallel.fit(batch, { batchSize: 8, epochs: 1, shuffle: false, verbose: 0 });
    await parallel.close();
    expect(history.loss![0]).toBeCloseTo(firstLoss([0, 1, 2, 3, 4, 5, 6, 7]), 4);
    for (const variable of variables) variable.dispose();
  });

  it('is refused over micro-batches', async () => {
    await expect(train({ dp: 2, microBatches: 2 })).rejects.toMatchObject({
      code: 'config/batch',
      path: 'microBatches',
    });
  });

  it('cannot depend on the number of its replica', async () => {
    const weight = tf.variable(tf.ones([WIDTH]));
    const loss = (batch: merak.Batch) => tf.mul(tf.mul(batch.x!, weight).mean(), merak.nn.axisIndex() + 1);
    const parallel = await merak.wrap(loss as merak.LossFunction, { optimizer: tf.train.sgd(1), dp: 2 });
    await expect(parallel.fit({ x: data.anchors }, { verbose: 0, batchSize: 8 })).rejects.toThrow(
      /number of its replica/,
    );
    await parallel.close();
    weight.dispose();
  });
});
