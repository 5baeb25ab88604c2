/** Optimal transport by low rank + sparse: the augmented Lagrangian, with factors, entries and points on the workers. */
import * as tf from '@tensorflow/tfjs';
import { nn, type SpmdGroup, shard } from '../../index.js';
import type { Keeper } from '../context.js';
import { apply, column, gradient, joined, lipschitz, moments, ones, rowNorms, stepped } from './factors.js';
import { meanCost, type NormalisedClouds } from './normalise.js';
import type { FactoredPlan } from './plan.js';
import { bestOfColumns, scanBlocks } from './scan.js';
import { fill, keeperOf, openState, readPlan } from './state.js';
import { chooseSupport, type Support } from './support.js';

export interface SolverOptions {
  readonly rank: number;
  /** Entries of the sparse part. */
  readonly numEntries: number;
  readonly inner: number;
  /** In units of n mean(C). */
  readonly penalty: number;
  readonly scanBytes: number;
  readonly seed: number;
}

export interface Solver {
  /** Points, masses, and random factors near a b'. */
  begin(): Promise<void>;
  /** One outer iteration: `inner` sweeps, then the multipliers. Residual is the L1 distance of both marginals. */
  step(): Promise<{ readonly cost: number; readonly residual: number }>;
  /** Chooses the entries of the sparse part anew from a scan of all reduced costs. */
  refresh(): Promise<void>;
  plan(): Promise<FactoredPlan>;
  /** Bytes of each worker's arenas. */
  memory(): Promise<number>;
  readonly keep: Keeper;
}

/**
 * min <C, Q R' + S>, Q, R, S >= 0, (Q R' + S) 1 = a, (Q R' + S)' 1 = b, S on a chosen support. Projected gradient steps on Q,
 * then R, then S, with step 1 / L of the quadratic's Lipschitz constant; with residuals u, v, multipliers alpha, beta and
 * penalty mu the gradient is G = C + (alpha + mu u) 1' + 1 (beta + mu v)', of which only products with the factors and
 * the support's entries are computed: C = |x|^2 1' + 1 |y|^2' - 2 X Y' has rank d + 2.
 */
export function openSolver(group: SpmdGroup, clouds: NormalisedClouds, options: SolverOptions): Solver {
  const { n, m } = clouds;
  const { rank, numEntries, inner, penalty, seed } = options;
  const hasEntries = numEntries > 0;
  const mu = penalty * n * meanCost(clouds);
  const state = openState(group, clouds, options);
  const { entries } = state;
  const { x, y } = state.points;
  const { a, b } = state.masses;
  const { q, r, alpha, beta, u, v } = state.iterates;

  const setEntries = group.jit(() => {
    const [i, j] = [entries.rows.value as tf.Tensor1D, entries.columns.value as tf.Tensor1D];
    const from = tf.gather(nn.allGather(x.value, { size: n }), i);
    const to = tf.gather(nn.allGather(y.value, { size: m }), j);
    entries.costs.value.assign(tf.sum(tf.square(tf.sub(from, to)), 1));
    const live = entries.live.value as tf.Tensor1D;
    const inRow = nn.allReduce(tf.unsortedSegmentSum(live, i, n));
    const inColumn = nn.allReduce(tf.unsortedSegmentSum(live, j, m));
    const count = tf.add(tf.gather(inRow, i), tf.gather(inColumn, j));
    entries.lipschitz.value.assign(tf.mul(tf.maximum(count, 1), mu));
  });

  const advance = group.jit(() => {
    const points = { x: x.value as tf.Tensor2D, y: y.value as tf.Tensor2D };
    const norms = { x: rowNorms(points.x), y: rowNorms(points.y) };
    const [i, j] = [entries.rows.value as tf.Tensor1D, entries.columns.value as tf.Tensor1D];
    let [factorQ, factorR] = [q.value as tf.Tensor2D, r.value as tf.Tensor2D];
    let values = entries.values.value as tf.Tensor1D;
    const sparseSums = (): readonly [tf.Tensor, tf.Tensor] =>
      hasEntries
        ? [
            nn.ownShard(nn.allReduce(tf.unsortedSegmentSum(values, i, n))),
            nn.ownShard(nn.allReduce(tf.unsortedSegmentSum(values, j, m))),
          ]
        : [tf.scalar(0), tf.scalar(0)];
    let [rowSparse, columnSparse] = sparseSums();
    const residualU = (sumsR: tf.Tensor): tf.Tensor => tf.sub(tf.add(apply(factorQ, sumsR), rowSparse), a.value);
    const residualV = (sumsQ: tf.Tensor): tf.Tensor => tf.sub(tf.add(apply(factorR, sumsQ), columnSparse), b.value);
    const shiftedU = (sumsR: tf.Tensor): tf.Tensor => tf.add(alpha.value, tf.mul(residualU(sumsR), mu));
    const shiftedV = (sumsQ: tf.Tensor): tf.Tensor => tf.add(beta.value, tf.mul(residualV(sumsQ), mu));
    let sumsR = nn.allReduce(tf.sum(factorR, 0));
    let sumsQ = nn.allReduce(tf.sum(factorQ, 0));
    for (let sweep = 0; sweep < inner; sweep++) {
      const ofR = moments(points.y, tf.add(norms.y, shiftedV(sumsQ)), factorR);
      const gradQ = gradient(points.x, tf.add(norms.x, shiftedU(ofR.sums)), ofR);
      factorQ = stepped(factorQ, gradQ, lipschitz(ofR, n, mu));
      const ofQ = moments(points.x, tf.add(norms.x, shiftedU(ofR.sums)), factorQ);
      sumsQ = ofQ.sums;
      const gradR = gradient(points.y, tf.add(norms.y, shiftedV(sumsQ)), ofQ);
      factorR = stepped(factorR, gradR, lipschitz(ofQ, m, mu));
      sumsR = nn.allReduce(tf.sum(factorR, 0));
      if (!hasEntries) continue;
      const ga = tf.gather(nn.allGather(shiftedU(sumsR), { size: n }), i);
      const gb = tf.gather(nn.allGather(shiftedV(sumsQ), { size: m }), j);
      const reduced = tf.add(tf.add(entries.costs.value, ga), gb);
      values = tf.mul(tf.relu(tf.sub(values, tf.div(reduced, entries.lipschitz.value))), entries.live.value);
      [rowSparse, columnSparse] = sparseSums();
    }
    const [newU, newV] = [residualU(sumsR), residualV(sumsQ)];
    q.value.assign(factorQ);
    r.value.assign(factorR);
    if (hasEntries) entries.values.value.assign(values);
    u.value.assign(newU);
    v.value.assign(newV);
    alpha.value.assign(tf.add(alpha.value, tf.mul(newU, mu)));
    beta.value.assign(tf.add(beta.value, tf.mul(newV, mu)));
    const costTimesR = gradient(points.x, norms.x, moments(points.y, norms.y, factorR));
    const dense = nn.allReduce(tf.sum(tf.mul(costTimesR, factorQ)) as tf.Scalar);
    const sparse = nn.allReduce(tf.sum(tf.mul(values, entries.costs.value)) as tf.Scalar);
    return {
      cost: hasEntries ? tf.add(dense, sparse) : dense,
      residual: nn.allReduce(tf.add(tf.sum(tf.abs(newU)), tf.sum(tf.abs(newV))) as tf.Scalar),
    };
  });

  const scan = group.jit(
    () => {
      const whole = <T extends tf.Tensor>(part: T, size: number): T => nn.allGather(part, { size });
      const ga = tf.add(alpha.value, tf.mul(u.value, mu));
      const gb = tf.add(beta.value, tf.mul(v.value, mu));
      const [px, py] = [x.value as tf.Tensor2D, y.value as tf.Tensor2D];
      const left = joined([column(tf.add(rowNorms(px), ga)), ones(px), tf.mul(px, -2)]);
      const right = whole(joined([ones(py), column(tf.add(rowNorms(py), gb)), py]), m);
      const first = nn.axisIndex() * Math.floor(n / nn.numShards()) + Math.min(nn.axisIndex(), n % nn.numShards());
      return scanBlocks(left, right, first, Math.max(1, Math.floor(options.scanBytes / (4 * m))));
    },
    { out: { rowColumns: shard(0), rowCosts: shard(0), columnRows: shard(0), columnCosts: shard(0) } },
  );

  async function setSupport(support: Support): Promise<void> {
    await entries.rows.writeArray(support.rows);
    await entries.columns.writeArray(support.columns);
    await entries.values.writeArray(support.values);
    await entries.live.writeArray(support.live);
    await setEntries();
  }

  return {
    async begin() {
      await fill(state, clouds, rank, seed);
      if (hasEntries) await setEntries();
    },
    async step() {
      const figures = await advance();
      const [cost, residual] = [figures.cost.dataSync()[0]! * clouds.costScale, figures.residual.dataSync()[0]!];
      tf.dispose(figures);
      return { cost, residual };
    },
    async refresh() {
      if (!hasEntries) return;
      const found = await scan();
      const rowColumns = (await found.rowColumns.data()) as Int32Array;
      const rowCosts = (await found.rowCosts.data()) as Float32Array;
      const best = await bestOfColumns(found, m);
      tf.dispose(found);
      const [rows, columns, values, live] = [
        (await entries.rows.readArray()) as Int32Array,
        (await entries.columns.readArray()) as Int32Array,
        (await entries.values.readArray()) as Float32Array,
        (await entries.live.readArray()) as Float32Array,
      ];
      await setSupport(chooseSupport({ rows, columns, values, live }, { rowColumns, rowCosts, ...best }));
    },
    plan: () => readPlan(state, rank),
    async memory() {
      const { measured } = await group.memory();
      return Math.max(...measured.map((arenas) => Object.values(arenas).reduce((sum, bytes) => sum + bytes, 0)));
    },
    keep: keeperOf(state, hasEntries),
  };
}
