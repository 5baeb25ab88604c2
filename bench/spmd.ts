/** What a call of a merak.spmd function costs, what crosses to the workers and back, and how dense products scale: `npx tsx bench/spmd.ts`. */
import * as tf from '@tensorflow/tfjs';
import * as merak from '../src/index.js';
import { describeMachine } from './machine.js';

const SIZE = 2048;

/** Best of `repeats` rounds of `times` calls, in seconds a call. */
async function secondsPerCall(call: () => Promise<unknown>, times: number, repeats = 3): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < repeats; round++) {
    const start = performance.now();
    for (let i = 0; i < times; i++) await call();
    best = Math.min(best, (performance.now() - start) / 1000 / times);
  }
  return best;
}

await tf.setBackend('cpu');
console.log(JSON.stringify(describeMachine()));
const factor = tf.scalar(1.0001);
for (const workers of [1, 2]) {
  const group = await merak.spmd({ workers, threadsPerWorker: 1 });
  const [state, right] = ['state', 'right'].map((name) =>
    group.state(name, { initial: tf.fill([SIZE, SIZE], 1 / SIZE), placement: merak.shard(0) }),
  );
  const count = group.state('count', { shape: [8] });
  const empty = group.jit((x: tf.Scalar) => {
    count.value.assign(tf.add(count.value, x));
    return merak.nn.allReduce(count.value.sum());
  });
  const product = group.jit(() => {
    const [a, b] = [state!.value as tf.Tensor2D, right!.value as tf.Tensor2D];
    state!.value.assign(tf.matMul(a, merak.nn.allGather(b)));
  });
  const send = group.jit((x: tf.Tensor) => merak.nn.allReduce(x.sum()), { in: merak.shard(0) });
  const receive = group.jit(() => tf.mul(state!.value, 1), { out: merak.shard(0) });
  const whole = tf.fill([SIZE, SIZE], 1);
  await Promise.all([empty(factor), product(), send(whole), receive()]);
  const megabytes = (SIZE * SIZE * 4) / 1e6;
  const call = await secondsPerCall(() => empty(factor), 200);
  const multiply = await secondsPerCall(product, 3);
  const sent = await secondsPerCall(() => send(whole), 3);
  const received = await secondsPerCall(async () => (await receive()).dispose(), 3);
  const read = await secondsPerCall(() => state!.readArray(), 3);
  console.log(
    [
      `${workers} worker(s) of 1 thread: a call with a state and an all-reduce ${(call * 1e3).toFixed(2)} ms`,
      `product of ${SIZE} x ${SIZE} ${(multiply * 1e3).toFixed(0)} ms = ${((2 * SIZE ** 3) / multiply / 1e9).toFixed(0)} GFLOP/s`,
      `argument ${(megabytes / sent / 1e3).toFixed(2)} GB/s, result ${(megabytes / received / 1e3).toFixed(2)} GB/s, state.read ${(megabytes / read / 1e3).toFixed(2)} GB/s`,
    ].join('; '),
  );
  await group.close();
}
