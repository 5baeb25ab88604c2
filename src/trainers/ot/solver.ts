/** Optimal transport by low rank + sparse: the augmented Lagrangian, with factors, entries and points on the workers. */
import * as tf from '@tensorflow/tfjs';
import { loadState, nn, type SpmdGroup, type SpmdState, saveState, shard } from '../../index.js';
import type { Keeper } from '../context.js';
import { meanCost, type NormalisedClouds } from './normalise.js';
import type { FactoredPlan } from './plan.js';
import { chooseSupport, type Scan, type Support } from './support.js';

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
  const { n, m, dimension: d } = clouds;
  const { rank, numEntries, inner, penalty, seed } = options;
  const hasEntries = numEntries > 0;
  const mu = penalty * n * meanCost(clouds);
  const sharded = (name: string, shape: number[], dtype: 'float32' | 'int32' = 'float32') =>
    group.state(name, { shape, dtype, placement: shard(0) });
  const [x, y] = [sharded('x', [n, d]), sharded('y', [m, d])];
  const [a, b] = [sharded('a', [n]), sharded('b', [m])];
  const [q, r] = [sharded('q', [n, rank]), sharded('r', [m, rank])];
  const [alpha, beta] = [sharded('alpha', [n]), sharded('beta', [m])];
  const [u, v] = [sharded('u', [n]), sharded('v', [m])];
  const capacity = Math.max(numEntries, group.numShards);
  const entries = {
    rows: sharded('rows', [capacity], 'int32'),
    columns: sharded('columns', [capacity], 'int32'),
    values: sharded('values', [capacity]),
    live: sharded('live', [capacity]),
    costs: sharded('costs', [capacity]),
    lipschitz: sharded('lipschitz', [capacity]),
  };

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

  const kept: readonly SpmdState[] = [q, r, alpha, beta, u, v, ...(hasEntries ? Object.values(entries) : [])];
  return {
    async begin() {
      await Promise.all([
        x.writeArray(clouds.x),
        y.writeArray(clouds.y),
        a.writeArray(Float32Array.from(clouds.a)),
        b.writeArray(Float32Array.from(clouds.b)),
      ]);
      await q.write(startingFactor(clouds.a, m, rank, 2 * seed + 1));
      await r.write(startingFactor(clouds.b, n, rank, 2 * seed + 2));
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
    async plan() {
      const read = async (state: SpmdState) => Float64Array.from(await state.readArray());
      const rows = (await entries.rows.readArray()) as Int32Array;
      const columns = (await entries.columns.readArray()) as Int32Array;
      const values = await read(entries.values);
      const used = values.reduce((count, value) => count + (value > 0 ? 1 : 0), 0);
      const order = Int32Array.from({ length: values.length }, (_, e) => e).filter((e) => values[e]! > 0);
      return {
        rank,
        q: await read(q),
        r: await read(r),
        rows: order.map((e) => rows[e]!),
        columns: order.map((e) => columns[e]!),
        values: Float64Array.from({ length: used }, (_, k) => values[order[k]!]!),
      };
    },
    async memory() {
      const { measured } = await group.memory();
      return Math.max(...measured.map((arenas) => Object.values(arenas).reduce((sum, bytes) => sum + bytes, 0)));
    },
    keep: {
      async save(folder) {
        const tensors = await Promise.all(kept.map((state) => state.read()));
        await saveState(`${folder}/solver`, Object.fromEntries(kept.map(({ name }, k) => [name, tensors[k]!])));
        tf.dispose(tensors);
      },
      async load(folder) {
        const { tensors } = await loadState(`${folder}/solver`);
        for (const state of kept) await state.write(tensors[state.name]!);
        tf.dispose(tensors);
      },
    },
  };
}

interface Moments {
  /** F' 1: [rank]. */
  readonly sums: tf.Tensor1D;
  /** F' times shifted norms: [1, rank]. */
  readonly ofNorms: tf.Tensor2D;
  /** points' F: [d, rank]. */
  readonly ofPoints: tf.Tensor2D;
  /** F' F: [rank, rank]. */
  readonly gram: tf.Tensor2D;
}

/** What the other side needs of a factor F and its points, in one all-reduce. */
function moments(points: tf.Tensor2D, shiftedNorms: tf.Tensor, factor: tf.Tensor2D): Moments {
  const d = points.shape[1];
  const rank = factor.shape[1];
  const left = joined([ones(points), column(shiftedNorms), points, factor]);
  const all = nn.allReduce(tf.matMul(left, factor, true));
  return {
    sums: tf.reshape(rowsOf(all, 0, 1), [rank]),
    ofNorms: rowsOf(all, 1, 1),
    ofPoints: rowsOf(all, 2, d),
    gram: rowsOf(all, 2 + d, rank),
  };
}

/** G times the other side's factor, this worker's rows: [rows, rank]. */
function gradient(points: tf.Tensor2D, shiftedNorms: tf.Tensor, { sums, ofNorms, ofPoints }: Moments): tf.Tensor2D {
  const outer = tf.mul(column(shiftedNorms), sums);
  return tf.sub(tf.add(outer, ofNorms), tf.mul(tf.matMul(points, ofPoints), 2));
}

/** A projected gradient step. */
function stepped(factor: tf.Tensor2D, slope: tf.Tensor2D, curvature: tf.Tensor): tf.Tensor2D {
  return tf.relu(tf.sub(factor, tf.div(slope, curvature)) as tf.Tensor2D);
}

const NUM_POWERS = 6;

/** mu (|F'1|^2 + rows |F'F|_2); the norm from above by Collatz and Wielandt's quotients, as F'F >= 0. */
function lipschitz({ sums, gram }: Moments, numRows: number, mu: number): tf.Tensor {
  let vector = tf.ones([gram.shape[0], 1]) as tf.Tensor2D;
  for (let power = 0; power < NUM_POWERS; power++) {
    const next = tf.matMul(gram, vector);
    // A little everywhere: the quotients bound the norm for positive vectors only.
    vector = tf.add(tf.div(next, tf.add(tf.max(next), 1e-30)), 1e-3);
  }
  const norm = tf.max(tf.div(tf.matMul(gram, vector), vector));
  return tf.add(tf.mul(tf.add(tf.sum(tf.square(sums)), tf.mul(norm, numRows)), mu), 1e-30);
}

/** By blocks of rows of left right' (the reduced costs), which is never formed whole. */
function scanBlocks(left: tf.Tensor2D, right: tf.Tensor2D, firstRow: number, blockRows: number) {
  const numRows = left.shape[0];
  const perRow: { columns: tf.Tensor1D; costs: tf.Tensor1D }[] = [];
  let best: { rows: tf.Tensor1D; costs: tf.Tensor1D } | undefined;
  for (let begin = 0; begin < numRows; begin += blockRows) {
    const size = Math.min(blockRows, numRows - begin);
    const block = tf.matMul(tf.slice(left, [begin, 0], [size, left.shape[1]]), right, false, true);
    perRow.push({ columns: tf.argMin(block, 1), costs: tf.min(block, 1) });
    const costs = tf.min(block, 0) as tf.Tensor1D;
    const rows = tf.add(tf.argMin(block, 0), tf.scalar(firstRow + begin, 'int32')) as tf.Tensor1D;
    const better = best === undefined ? undefined : tf.less(costs, best.costs);
    best =
      best === undefined || better === undefined
        ? { rows, costs }
        : { rows: tf.where(better, rows, best.rows), costs: tf.minimum(costs, best.costs) };
  }
  return {
    rowColumns: joinedVectors(perRow.map(({ columns }) => columns)),
    rowCosts: joinedVectors(perRow.map(({ costs }) => costs)),
    columnRows: tf.expandDims(best!.rows, 0),
    columnCosts: tf.expandDims(best!.costs, 0),
  };
}

/** The best of the workers' best, of equals the first. */
async function bestOfColumns(
  found: { readonly columnRows: tf.Tensor; readonly columnCosts: tf.Tensor },
  numColumns: number,
): Promise<Pick<Scan, 'columnRows' | 'columnCosts'>> {
  const rows = (await found.columnRows.data()) as Int32Array;
  const costs = (await found.columnCosts.data()) as Float32Array;
  const columnRows = rows.slice(0, numColumns);
  const columnCosts = costs.slice(0, numColumns);
  for (let at = numColumns; at < costs.length; at++) {
    const j = at % numColumns;
    if (costs[at]! >= columnCosts[j]!) continue;
    columnCosts[j] = costs[at]!;
    columnRows[j] = rows[at]!;
  }
  return { columnRows, columnCosts };
}

/** mass_i n^(1/2) / (m rank)^(1/2) times 0.5 to 1.5, so that Q R' is near a b' and both factors have the same size. */
function startingFactor(mass: Float64Array, others: number, rank: number, seed: number): tf.Tensor2D {
  return tf.tidy(() => {
    const size = Math.sqrt(mass.length / (others * rank));
    const noise = tf.randomUniform([mass.length, rank], 0.5, 1.5, 'float32', seed);
    return tf.mul(
      noise,
      tf.tensor2d(
        Float32Array.from(mass, (value) => value * size),
        [mass.length, 1],
      ),
    );
  });
}

function rowsOf(x: tf.Tensor, begin: number, size: number): tf.Tensor2D {
  return tf.slice(x as tf.Tensor2D, [begin, 0], [size, x.shape[1]!]);
}

function rowNorms(points: tf.Tensor2D): tf.Tensor1D {
  return tf.sum(tf.square(points), 1);
}

function apply(factor: tf.Tensor2D, sums: tf.Tensor): tf.Tensor {
  return tf.squeeze(tf.matMul(factor, tf.expandDims(sums, 1) as tf.Tensor2D), [1]);
}

function column(vector: tf.Tensor): tf.Tensor2D {
  return tf.expandDims(vector, 1) as tf.Tensor2D;
}

function ones(like: tf.Tensor2D): tf.Tensor2D {
  return tf.ones([like.shape[0], 1]);
}

function joined(parts: tf.Tensor2D[]): tf.Tensor2D {
  return tf.concat(parts, 1);
}

function joinedVectors(parts: tf.Tensor1D[]): tf.Tensor1D {
  return parts.length === 1 ? parts[0]! : tf.concat(parts);
}
