/** What sentence vectors are worth: agreement with people's scores, isotropy, size, and how long a search takes. */
import * as tf from '@tensorflow/tfjs';
import { metrics, nn, type SpmdGroup, shard } from '../../index.js';

export interface Measurements {
  /** Of the cosines of pairs with their scores; NaN where there are no scores. */
  readonly spearman: number;
  /** Mean cosine of two different sentences: 0 where directions are spread evenly. */
  readonly isotropy: number;
  readonly bytesPerVector: number;
  /** Milliseconds for the ten nearest of all vectors to one. */
  readonly queryMilliseconds: number;
}

const TOP = 10;
const NUM_QUERIES = 64;

/** @param vectors [2 pairs, size]: rows 2i and 2i + 1 are a pair */
export async function measure(
  group: SpmdGroup,
  vectors: Float32Array,
  size: number,
  scores: Float32Array | undefined,
  rounds: number,
): Promise<Measurements> {
  const numRows = vectors.length / size;
  const units = await unitRows(group, vectors, size);
  return {
    spearman: scores === undefined ? Number.NaN : metrics.spearman(pairCosines(units, size), scores),
    isotropy: await meanCosine(group, units, size),
    bytesPerVector: size * Float32Array.BYTES_PER_ELEMENT,
    queryMilliseconds: numRows < TOP * group.numShards ? Number.NaN : await queryTime(group, units, size, rounds),
  };
}

/** Rows of length 1; zeros stay zeros. */
async function unitRows(group: SpmdGroup, vectors: Float32Array, size: number): Promise<Float32Array> {
  const normalise = group.jit((x: tf.Tensor) => tf.div(x, tf.maximum(tf.norm(x, 2, 1, true), 1e-12)), {
    in: [shard(0)],
    out: shard(0),
  });
  const x = tf.tensor2d(vectors, [vectors.length / size, size]);
  const y = await normalise(x);
  const data = (await y.data()) as Float32Array;
  tf.dispose([x, y]);
  await normalise.dispose();
  return data;
}

function pairCosines(units: Float32Array, size: number): number[] {
  return tf.tidy(() => {
    const pairs = tf.tensor3d(units, [units.length / (2 * size), 2, size]);
    const [first, second] = tf.unstack(pairs, 1) as [tf.Tensor, tf.Tensor];
    return Array.from(tf.sum(tf.mul(first, second), 1).dataSync());
  });
}

/** (|sum of units|^2 - n) / (n (n - 1)), which is the mean over all pairs of different rows. */
async function meanCosine(group: SpmdGroup, units: Float32Array, size: number): Promise<number> {
  const totals = group.jit(
    (x: tf.Tensor) => ({ sum: nn.allReduce(tf.sum(x, 0)), squares: nn.allReduce(tf.sum(tf.square(x))) }),
    { in: [shard(0)] },
  );
  const numRows = units.length / size;
  const x = tf.tensor2d(units, [numRows, size]);
  const { sum, squares } = await totals(x);
  const values = (await sum.data()) as Float32Array;
  const [own] = await squares.data();
  tf.dispose([x, sum, squares]);
  await totals.dispose();
  return (values.reduce((total, value) => total + value * value, 0) - own!) / (numRows * (numRows - 1));
}

/** Exhaustive search: each worker scores its rows against the queries and finds its nearest; time of one call over queries. */
async function queryTime(group: SpmdGroup, units: Float32Array, size: number, rounds: number): Promise<number> {
  const numRows = units.length / size;
  const index = tf.variable(tf.tensor2d(units, [numRows, size]), false);
  const search = group.jit(
    (queries: tf.Tensor) => {
      const own = nn.ownShard(index as tf.Tensor);
      return tf.topk(tf.matMul(queries as tf.Tensor2D, own as tf.Tensor2D, false, true), TOP).values;
    },
    { out: shard(1) },
  );
  const numQueries = Math.min(NUM_QUERIES, numRows);
  const queries = tf.tensor2d(units.subarray(0, numQueries * size), [numQueries, size]);
  const seconds: number[] = [];
  // The first call compiles and sends the index.
  for (let round = 0; round <= rounds; round++) {
    const began = performance.now();
    (await search(queries)).dispose();
    if (round > 0) seconds.push((performance.now() - began) / numQueries);
  }
  tf.dispose([queries, index]);
  await search.dispose();
  return seconds.sort((a, b) => a - b)[Math.floor(seconds.length / 2)]!;
}
