/**
 * How an iteration of the sigma recipe scales from one worker to two, each of one thread, and what memory a worker takes:
 * `npx tsx bench/matching.ts [NODES [MATRICES [STEPS]]]`.
 */
import * as tf from '@tensorflow/tfjs';
import * as merak from '../src/index.js';
import { config } from '../src/trainers/sigma/config.js';
import { generatePair } from '../src/trainers/sigma/generate.js';
import { openMatcher } from '../src/trainers/sigma/matcher.js';
import { describeMachine } from './machine.js';

const [NODES = 2048, MATRICES = 3, STEPS = 4] = process.argv.slice(2).map(Number);

await tf.setBackend('cpu');
console.log(JSON.stringify(describeMachine()));
const pair = generatePair({ model: 'barabasi-albert', nodes: NODES, meanDegree: 6, noise: 0.1, seed: 1 });
// Two products of 2 n^3 operations for each structure matrix.
const operations = 4 * MATRICES * NODES ** 3;
for (const sinkhornIterations of [1, 30]) {
  const seconds: number[] = [];
  for (const workers of [1, 2]) {
    const group = await merak.spmd({ workers, threadsPerWorker: 1 });
    const settings = config.parse({ sinkhornIterations });
    const matcher = openMatcher(group, { sourceNodes: NODES, targetNodes: NODES, maxMatrices: MATRICES }, settings);
    await matcher.load(pair, MATRICES);
    await matcher.step();
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < STEPS; i++) {
      const began = performance.now();
      await matcher.step();
      best = Math.min(best, (performance.now() - began) / 1000);
    }
    seconds.push(best);
    const { planned, measured } = await group.memory();
    const taken = measured.map((arenas) => Object.values(arenas).reduce((sum, bytes) => sum + bytes, 0));
    const gigabytes = (bytes: readonly number[]) => bytes.map((one) => (one / 1e9).toFixed(2)).join(' + ');
    console.log(`${workers} worker(s): ${gigabytes(planned)} GB planned, ${gigabytes(taken)} GB taken`);
    await group.close();
  }
  const [one, two] = seconds as [number, number];
  console.log(
    `n = ${NODES}, K = ${MATRICES}, ${sinkhornIterations} Sinkhorn rounds: ${one.toFixed(2)} s on one worker, ` +
      `${two.toFixed(2)} s on two: ${(one / two).toFixed(2)} times (products alone ${(operations / 1e9).toFixed(0)} GFLOP)`,
  );
}
