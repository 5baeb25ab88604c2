/** A baseline of low rank without a sparse part: Sinkhorn's factors, by mirror descent (Scetbon, Cuturi and Peyre 2021). */
import * as tf from '@tensorflow/tfjs';
import { nn, type SpmdGroup, shard } from '../../index.js';
import { columnLogSumExp } from '../solvers/logSinkhorn.js';
import { gradient, moments, rowNorms } from './factors.js';
import type { NormalisedClouds } from './normalise.js';
import type { FactoredPlan } from './plan.js';

export interface LowRankOptions {
  readonly rank: number;
  /** Steps of the mirror descent. */
  readonly steps: number;
  /** Rounds of Dykstra's algorithm in a step. */
  readonly rounds: number;
  readonly seed: number;
}

/** Of the mirror descent, over the square of the largest slope (Scetbon and Cuturi 2022, section 3.3). */
const STEP_SIZE = 10;
/** No column of the factors has less mass; natural logarithm. */
const LOG_FLOOR = Math.log(1e-10);
/** Projections after the last step, until the rows hold too. */
const SETTLING = 20;
/** Of the first factors' logarithms; equal columns would stay equal. */
const NOISE = 1;

/**
 * min <C, Q diag(1/g) R'> with Q in Pi(a, g), R in Pi(b, g): multiplicative steps on Q, R and g, each followed by a projection
 * on the constraints by Dykstra's algorithm in the log domain (algorithm 2 there). No entropy.
 */
export async function lowRankSinkhorn(
  group: SpmdGroup,
  clouds: NormalisedClouds,
  { rank, steps, rounds, seed }: LowRankOptions,
): Promise<FactoredPlan> {
  const { n, m, dimension: d } = clouds;
  const rows = shard(0);
  const [x, y] = [
    group.state('x', { shape: [n, d], placement: rows }),
    group.state('y', { shape: [m, d], placement: rows }),
  ];
  const [logA, logB] = [
    group.state('logA', { shape: [n], placement: rows }),
    group.state('logB', { shape: [m], placement: rows }),
  ];
  const [logQ, logR] = [
    group.state('logQ', { shape: [n, rank], placement: rows }),
    group.state('logR', { shape: [m, rank], placement: rows }),
  ];
  const logG = group.state('logG', { shape: [rank] });
  const marginals = () => ({ a: logA.value as tf.Tensor1D, b: logB.value as tf.Tensor1D });
  const assign = ({ q, r, g }: LogFactors): void => {
    logQ.value.assign(q);
    logR.value.assign(r);
    logG.value.assign(g);
  };
  const settle = group.jit(() => {
    const found = { q: logQ.value as tf.Tensor2D, r: logR.value as tf.Tensor2D, g: logG.value as tf.Tensor1D };
    assign(project(found, marginals(), rounds));
  });
  const begin = group.jit(() => {
    const even = tf.fill([rank], -Math.log(rank)) as tf.Tensor1D;
    const start = { q: logQ.value as tf.Tensor2D, r: logR.value as tf.Tensor2D, g: even };
    assign(project(start, marginals(), rounds));
  });
  const advance = group.jit(() => {
    const g = tf.exp(logG.value) as tf.Tensor1D;
    const [px, py] = [x.value as tf.Tensor2D, y.value as tf.Tensor2D];
    const [q, r] = [tf.exp(logQ.value) as tf.Tensor2D, tf.exp(logR.value) as tf.Tensor2D];
    const costTimesR = gradient(px, rowNorms(px), moments(py, rowNorms(py), r));
    const costTimesQ = gradient(py, rowNorms(py), moments(px, rowNorms(px), q));
    const [slopeQ, slopeR] = [tf.div(costTimesR, g), tf.div(costTimesQ, g)];
    const inner = nn.allReduce(tf.sum(tf.mul(q, costTimesR), 0));
    const slopeG = tf.neg(tf.div(inner, tf.square(g)));
    const steepest = tf.maximum(
      nn.allReduce(tf.maximum(tf.max(tf.abs(slopeQ)), tf.max(tf.abs(slopeR))) as tf.Scalar, 'max'),
      tf.max(tf.abs(slopeG)),
    );
    const step = tf.div(STEP_SIZE, tf.square(steepest));
    const moved = (log: tf.Tensor, slope: tf.Tensor): tf.Tensor => tf.sub(log, tf.mul(slope, step));
    const kernel = {
      q: moved(logQ.value, slopeQ) as tf.Tensor2D,
      r: moved(logR.value, slopeR) as tf.Tensor2D,
      g: moved(logG.value, slopeG) as tf.Tensor1D,
    };
    assign(project(kernel, marginals(), rounds));
  });

  const noise = (size: number, key: number) =>
    tf.tidy(() => tf.randomUniform([size, rank], 0, NOISE, 'float32', key).dataSync() as Float32Array);
  await x.writeArray(clouds.x);
  await y.writeArray(clouds.y);
  await logA.writeArray(Float32Array.from(clouds.a, Math.log));
  await logB.writeArray(Float32Array.from(clouds.b, Math.log));
  await logQ.writeArray(noise(n, 2 * seed + 1));
  await logR.writeArray(noise(m, 2 * seed + 2));
  await begin();
  for (let step = 0; step < steps; step++) await advance();
  for (let time = 0; time < SETTLING; time++) await settle();

  const g = Float64Array.from(await logG.readArray(), Math.exp);
  const q = Float64Array.from(await logQ.readArray(), (value, at) => Math.exp(value) / g[at % rank]!);
  const r = Float64Array.from(await logR.readArray(), Math.exp);
  const none = new Int32Array(0);
  return { rank, q, r, rows: none, columns: none, values: new Float64Array(0) };
}

interface LogFactors {
  readonly q: tf.Tensor2D;
  readonly r: tf.Tensor2D;
  readonly g: tf.Tensor1D;
}

/**
 * The factors nearest to a kernel (Kullback and Leibler) among those of marginals a and g, b and g, g >= floor. All are
 * logarithms; columns hold exactly afterwards, rows as well as `rounds` allow.
 */
function project(kernel: LogFactors, { a, b }: { a: tf.Tensor1D; b: tf.Tensor1D }, rounds: number): LogFactors {
  const none = tf.zerosLike(kernel.g);
  let [vq, vr] = [none, none];
  // Dykstra's corrections: of the factors' columns, of the floor, of g's part in the columns.
  let [cq, cr, cFloor, cColumns] = [none, none, none, none];
  let [uq, ur, g] = [tf.zerosLike(a), tf.zerosLike(b), kernel.g];
  for (let round = 0; round < rounds; round++) {
    uq = tf.sub(a, tf.logSumExp(tf.add(kernel.q, vq), 1));
    ur = tf.sub(b, tf.logSumExp(tf.add(kernel.r, vr), 1));
    const floored = tf.maximum(tf.add(g, cFloor), LOG_FLOOR) as tf.Tensor1D;
    cFloor = tf.sub(tf.add(g, cFloor), floored);
    const columnsQ = columnLogSumExp(tf.add(kernel.q, tf.expandDims(uq, 1)));
    const columnsR = columnLogSumExp(tf.add(kernel.r, tf.expandDims(ur, 1)));
    const ofG = tf.add(floored, cColumns);
    const [ofQ, ofR] = [tf.add(vq, cq), tf.add(vr, cr)];
    g = tf.div(tf.addN([ofG, ofQ, columnsQ, ofR, columnsR]), 3);
    [vq, vr] = [tf.sub(g, columnsQ), tf.sub(g, columnsR)];
    [cq, cr, cColumns] = [tf.sub(ofQ, vq), tf.sub(ofR, vr), tf.sub(ofG, g)];
  }
  return {
    q: tf.add(tf.add(kernel.q, tf.expandDims(uq, 1)), vq),
    r: tf.add(tf.add(kernel.r, tf.expandDims(ur, 1)), vr),
    g,
  };
}
