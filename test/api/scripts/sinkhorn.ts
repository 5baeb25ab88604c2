/** A user's solver: Sinkhorn in the log domain on rows over workers, saved every few iterations; dies or resumes as told. */
import { existsSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import * as merak from '../../../src/index.js';

const [folder = '', diesAt = ''] = process.argv.slice(2);
const [N, M, ITERATIONS, EPSILON] = [37, 29, 40, 0.05];
await tf.setBackend('cpu');
const cost = tf.tidy(() => {
  const [x, y] = [tf.linspace(0, 1, N).square(), tf.linspace(0.2, 0.9, M)];
  return tf.square(tf.sub(x.expandDims(1), y.expandDims(0))) as tf.Tensor2D;
});

const group = await merak.spmd({ threadsPerWorker: 1 });
const f = group.state('f', { shape: [N], placement: merak.shard(0) });
const g = group.state('g', { shape: [M] });
const iterate = group.jit(
  (c: tf.Tensor2D) => {
    f.value.assign(tf.mul(-EPSILON, tf.logSumExp(tf.div(tf.sub(g.value, c), EPSILON), 1)).sub(EPSILON * Math.log(N)));
    const scores = tf.div(tf.sub(tf.expandDims(f.value, 1), c), EPSILON);
    const largest = merak.nn.allReduce(scores.max(0), 'max');
    const sum = merak.nn.allReduce(tf.exp(scores.sub(largest)).sum(0));
    g.value.assign(tf.mul(-EPSILON, tf.add(largest, tf.log(sum))).sub(EPSILON * Math.log(M)));
    const plan = tf.exp(tf.div(tf.sub(tf.add(tf.expandDims(f.value, 1), g.value), c), EPSILON));
    return merak.nn.allReduce(tf.mul(plan, c).sum());
  },
  { in: [merak.shard(0)] },
);

let iteration = existsSync(folder) ? Number((await group.load(folder)).iteration) : 0;
const first = iteration;
let transported = Number.NaN;
for (; iteration < ITERATIONS; iteration++) {
  if (String(iteration) === diesAt) process.kill(process.pid, 'SIGKILL');
  transported = (await iterate(cost)).arraySync() as number;
  if (iteration % 5 === 4) await group.save(folder, { iteration: iteration + 1 });
}
console.log(JSON.stringify({ workers: group.numShards, first, transported, f: Array.from(await f.readArray()) }));
await group.close();
