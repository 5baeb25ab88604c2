/** The baseline with a dense plan: Sinkhorn in the log domain, rounded to exact marginals. */
import * as tf from '@tensorflow/tfjs';
import { nn, type SpmdGroup, shard } from '../../index.js';
import { logSinkhorn } from '../solvers/logSinkhorn.js';
import type { NormalisedClouds } from './normalise.js';

const ROUNDS_PER_CALL = 25;

export interface DenseResult {
  /** Of the rounded plan. */
  readonly cost: number;
  /** L1, before rounding. */
  readonly residual: number;
}

/**
 * Entropic optimal transport (Cuturi 2013) with regularisation epsilon max(C), rows of the plan over the workers, then
 * rounding by Altschuler et al. 2017. Memory: some [n / workers, m] matrices.
 */
export async function sinkhornBaseline(
  group: SpmdGroup,
  clouds: NormalisedClouds,
  { epsilon, rounds }: { readonly epsilon: number; readonly rounds: number },
): Promise<DenseResult> {
  const { n, m, dimension: d } = clouds;
  const rows = shard(0);
  const cost = group.state('cost', { shape: [n, m], placement: rows });
  const a = group.state('a', { initial: tf.tensor1d(Float32Array.from(clouds.a)), placement: rows });
  const [f, g] = [group.state('f', { shape: [n], placement: rows }), group.state('g', { shape: [m] })];
  const b = group.state('b', { initial: tf.tensor1d(Float32Array.from(clouds.b)) });
  const total = (x: tf.Tensor): tf.Scalar => nn.allReduce(tf.sum(x) as tf.Scalar);
  const setCost = group.jit(
    (x: tf.Tensor2D, y: tf.Tensor2D) => {
      const inner = tf.matMul(x, y, false, true);
      const norms = tf.add(tf.expandDims(tf.sum(tf.square(x), 1), 1), tf.sum(tf.square(y), 1));
      const squared = tf.relu(tf.sub(norms, tf.mul(inner, 2)));
      cost.value.assign(squared);
      return nn.allReduce(tf.max(squared) as tf.Scalar, 'max');
    },
    { in: [rows] },
  );
  const advance = group.jit((scale: number, count: number) => {
    const kernel = tf.div(cost.value, -scale) as tf.Tensor2D;
    const marginals = { rows: tf.log(a.value) as tf.Tensor1D, columns: tf.log(b.value) as tf.Tensor1D };
    const found = logSinkhorn(kernel, marginals, count, g.value as tf.Tensor1D);
    f.value.assign(found.f);
    g.value.assign(found.g);
  });
  const round = group.jit((scale: number) => {
    const exponent = tf.add(tf.add(tf.div(cost.value, -scale), tf.expandDims(f.value, 1)), g.value);
    const plan = tf.exp(exponent) as tf.Tensor2D;
    const rowSums = tf.sum(plan, 1);
    const residual = tf.add(
      total(tf.abs(tf.sub(rowSums, a.value))),
      tf.sum(tf.abs(tf.sub(nn.allReduce(tf.sum(plan, 0)), b.value))),
    );
    const byRows = tf.mul(plan, tf.expandDims(tf.minimum(tf.div(a.value, rowSums), 1), 1));
    const byColumns = tf.mul(byRows, tf.minimum(tf.div(b.value, nn.allReduce(tf.sum(byRows, 0))), 1));
    const missingRows = tf.relu(tf.sub(a.value, tf.sum(byColumns, 1)));
    const missingColumns = tf.relu(tf.sub(b.value, nn.allReduce(tf.sum(byColumns, 0))));
    const across = tf.matMul(cost.value as tf.Tensor2D, tf.expandDims(missingColumns, 1) as tf.Tensor2D);
    const extra = tf.div(total(tf.mul(tf.squeeze(across, [1]), missingRows)), tf.add(total(missingRows), 1e-30));
    return { cost: tf.add(total(tf.mul(byColumns, cost.value)), extra), residual };
  });
  const points = [tf.tensor2d(clouds.x, [n, d]), tf.tensor2d(clouds.y, [m, d])] as const;
  const largest = await setCost(...points);
  const scale = epsilon * largest.dataSync()[0]!;
  for (let done = 0; done < rounds; done += ROUNDS_PER_CALL) {
    await advance(scale, Math.min(ROUNDS_PER_CALL, rounds - done));
  }
  const figures = await round(scale);
  const result = { cost: figures.cost.dataSync()[0]! * clouds.costScale, residual: figures.residual.dataSync()[0]! };
  tf.dispose([...points, largest, figures]);
  return result;
}
