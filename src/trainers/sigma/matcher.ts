/** Mirror descent on structural inconsistency: the plan and the structure matrices stay on the workers. */
import * as tf from '@tensorflow/tfjs';
import { loadState, nn, replicate, type SpmdGroup, saveState, shard } from '../../index.js';
import type { Keeper } from '../context.js';
import { logSinkhorn } from '../solvers/logSinkhorn.js';
import type { SigmaConfig } from './config.js';
import type { GraphPair } from './generate.js';
import { marginalsOf } from './marginals.js';
import { edgeEnds, structureRows } from './structure.js';

export interface MatcherOptions {
  readonly sourceNodes: number;
  readonly targetNodes: number;
  /** The most structure matrices of any `load`. */
  readonly maxMatrices: number;
}

/** Of one iteration. */
export interface IterationFigures {
  /** <SI, T> before the step. */
  readonly objective: number;
  /** Mean inconsistency of true pairs before the step, as a share of the mean over all pairs; NaN without a truth. */
  readonly trueInconsistency: number;
  /** L1 distance of the new plan's row sums from their marginals (the columns hold). */
  readonly residual: number;
  readonly [name: string]: number;
}

export interface Matcher {
  /** Takes two graphs with K structure matrices each and the plan p q'. */
  load(pair: GraphPair, numMatrices: number): Promise<void>;
  step(): Promise<IterationFigures>;
  /** -T, [source, target] row-major: what an assignment minimises. */
  costs(): Promise<Float32Array>;
  /** SI_T for the present plan, [source, target]. */
  inconsistency(): Promise<Float32Array>;
  /** Moves the plan towards the one-to-one plan `columns` by exact line search; returns the step taken, 0 to 1. */
  moveTowards(columns: Int32Array): Promise<number>;
  /** Share of true pairs whose target is among the k of largest mass in its row. */
  hits(k: number): Promise<number>;
  /** Saves and loads the plan alone. */
  readonly keep: Keeper;
}

/**
 * SI_T(i,j) = sum_k w_k sum_(i'j') (Psi_k[i,i'] - Phi_k[j,j'])^2 T[i',j'], with T's rows over the workers: the dense products
 * Psi_k (T Phi_k') are each worker's rows of them, T Phi_k' being gathered in between.
 */
export function openMatcher(group: SpmdGroup, options: MatcherOptions, config: SigmaConfig): Matcher {
  const { sourceNodes: n, targetNodes: m, maxMatrices } = options;
  const { eta, sinkhornIterations, weights } = config;
  const rows = shard(0);
  const matrices = (name: string, size: number, placement = rows) =>
    Array.from({ length: maxMatrices }, (_, k) => group.state(`${name}${k}`, { shape: [size, size], placement }));
  const [psi, phi] = [matrices('source', n), matrices('target', m, replicate)];
  const vector = (name: string, size: number, placement = rows) => group.state(name, { shape: [size], placement });
  const [rowCost, rowMass] = [vector('rowCost', n), vector('rowMass', n)];
  const [columnCost, columnMass] = [vector('columnCost', m, replicate), vector('columnMass', m, replicate)];
  const logPlan = group.state('logPlan', { shape: [n, m], placement: rows });
  const truth = group.state('truth', { shape: [n], dtype: 'int32', placement: rows });
  const weightOf = (k: number, numMatrices: number): number => weights[k] ?? 1 / numMatrices;

  /** sum_k w_k Psi_k X Phi_k', this worker's rows. */
  const spread = (x: tf.Tensor2D, numMatrices: number): tf.Tensor2D =>
    sum(numMatrices, (k) => {
      const right = tf.matMul(x, phi[k]!.value as tf.Tensor2D, false, true);
      const whole = nn.allGather(right, { size: n });
      return tf.mul(tf.matMul(psi[k]!.value as tf.Tensor2D, whole), weightOf(k, numMatrices));
    });
  const inconsistencyOf = (cross: tf.Tensor2D): tf.Tensor2D =>
    tf.add(tf.sub(tf.expandDims(rowCost.value, 1), tf.mul(cross, 2)), columnCost.value);

  const setSource = group.jit((ends: tf.Tensor2D, numMatrices: number) => {
    const found = structureRows(ends, n, numMatrices, config);
    for (const [k, matrix] of found.entries()) psi[k]!.value.assign(matrix);
  });
  const setTarget = group.jit((ends: tf.Tensor2D, numMatrices: number) => {
    const found = structureRows(ends, m, numMatrices, config);
    for (const [k, matrix] of found.entries()) phi[k]!.value.assign(nn.allGather(matrix, { size: m }));
  });
  const begin = group.jit((p: tf.Tensor1D, q: tf.Tensor1D, numMatrices: number) => {
    const cost = (matrix: tf.Tensor, mass: tf.Tensor1D, k: number): tf.Tensor1D =>
      tf.mul(
        tf.squeeze(tf.matMul(tf.square(matrix as tf.Tensor2D), tf.expandDims(mass, 1) as tf.Tensor2D), [1]),
        weightOf(k, numMatrices),
      );
    rowCost.value.assign(sum(numMatrices, (k) => cost(psi[k]!.value, p, k)));
    columnCost.value.assign(sum(numMatrices, (k) => cost(phi[k]!.value, q, k)));
    const own = nn.ownShard(p);
    rowMass.value.assign(own);
    columnMass.value.assign(q);
    logPlan.value.assign(tf.add(tf.expandDims(tf.log(own), 1), tf.log(q)));
  });

  const advance = group.jit((numMatrices: number) => {
    const logT = logPlan.value as tf.Tensor2D;
    const plan = tf.exp(logT);
    const inconsistency = inconsistencyOf(spread(plan, numMatrices));
    const mean = tf.div(total(inconsistency), n * m);
    const deviation = tf.sqrt(tf.div(total(tf.square(tf.sub(inconsistency, mean))), n * m));
    const kernel = tf.sub(logT, tf.div(inconsistency, tf.mul(deviation, eta))) as tf.Tensor2D;
    const marginals = { rows: tf.log(rowMass.value) as tf.Tensor1D, columns: tf.log(columnMass.value) as tf.Tensor1D };
    const { f, g } = logSinkhorn(kernel, marginals, sinkhornIterations);
    const next = tf.add(tf.add(kernel, tf.expandDims(f, 1)), g) as tf.Tensor2D;
    logPlan.value.assign(next);
    const known = tf.greaterEqual(truth.value, 0);
    const ofTruth = tf.where(known, atTruth(inconsistency), 0);
    const numKnown = total(tf.cast(known, 'float32'));
    return {
      objective: total(tf.mul(inconsistency, plan)),
      trueInconsistency: tf.div(tf.div(total(ofTruth), numKnown), mean),
      residual: total(tf.abs(tf.sub(tf.sum(tf.exp(next), 1), rowMass.value))),
    };
  });
  const atTruth = (x: tf.Tensor2D): tf.Tensor1D => {
    const place = tf.range(0, x.shape[0], 1, 'int32');
    const column = tf.maximum(truth.value, tf.scalar(0, 'int32'));
    return tf.gatherND(x, tf.stack([place, column], 1)) as tf.Tensor1D;
  };
  const negativePlan = group.jit(() => tf.neg(tf.exp(logPlan.value)), { out: rows });
  const present = group.jit(
    (numMatrices: number) => inconsistencyOf(spread(tf.exp(logPlan.value as tf.Tensor2D), numMatrices)),
    { out: rows },
  );
  const lineSearch = group.jit(
    (columns: tf.Tensor1D, numMatrices: number) => {
      const plan = tf.exp(logPlan.value as tf.Tensor2D);
      const corner = tf.mul(tf.oneHot(columns, m, 1, 0, 'float32'), tf.expandDims(rowMass.value, 1)) as tf.Tensor2D;
      const towards = tf.sub(corner, plan) as tf.Tensor2D;
      // The energy along the line is const + linear t + curvature t^2.
      const curvature = tf.mul(total(tf.mul(spread(towards, numMatrices), towards)), -2);
      const linear = tf.mul(total(tf.mul(spread(plan, numMatrices), towards)), -4);
      const inner = tf.clipByValue(tf.div(tf.neg(linear), tf.mul(tf.maximum(curvature, 1e-30), 2)), 0, 1);
      const atEnd = tf.cast(tf.less(tf.add(linear, curvature), 0), 'float32');
      const step = tf.where(tf.greater(curvature, 0), inner, atEnd);
      logPlan.value.assign(tf.log(tf.add(plan, tf.mul(towards, step))));
      return step;
    },
    { in: [rows] },
  );
  const countHits = group.jit((k: number) => {
    const logT = logPlan.value as tf.Tensor2D;
    const known = tf.cast(tf.greaterEqual(truth.value, 0), 'float32');
    const above = tf.sum(tf.cast(tf.greater(logT, tf.expandDims(atTruth(logT), 1)), 'float32'), 1);
    return tf.div(total(tf.mul(tf.cast(tf.less(above, k), 'float32'), known)), total(known));
  });

  let matrixCount = 0;
  return {
    async load({ source, target, truth: pairs }, numMatrices) {
      matrixCount = numMatrices;
      const { sourceMass, targetMass } = marginalsOf(source, target, config.marginals);
      const given = [edgeEnds(source), edgeEnds(target), tf.tensor1d(sourceMass), tf.tensor1d(targetMass)] as const;
      await setSource(given[0], numMatrices);
      await setTarget(given[1], numMatrices);
      await begin(given[2], given[3], numMatrices);
      await truth.writeArray(pairs ?? new Int32Array(n).fill(-1));
      tf.dispose([...given]);
    },
    async step() {
      const figures = await advance(matrixCount);
      const { objective, trueInconsistency, residual } = figures;
      const values = {
        objective: objective.dataSync()[0]!,
        trueInconsistency: trueInconsistency.dataSync()[0]!,
        residual: residual.dataSync()[0]!,
      };
      tf.dispose(figures);
      return values;
    },
    costs: async () => taken(await negativePlan()),
    inconsistency: async () => taken(await present(matrixCount)),
    async moveTowards(columns) {
      const given = tf.tensor1d(columns, 'int32');
      const [step] = await taken(await lineSearch(given, matrixCount));
      given.dispose();
      return step!;
    },
    async hits(k) {
      const [share] = await taken(await countHits(k));
      return share!;
    },
    keep: {
      async save(folder) {
        const plan = await logPlan.read();
        await saveState(`${folder}/plan`, { logPlan: plan });
        plan.dispose();
      },
      async load(folder) {
        const { tensors } = await loadState(`${folder}/plan`);
        await logPlan.write(tensors.logPlan!);
        tf.dispose(tensors);
      },
    },
  };
}

function sum<T extends tf.Tensor>(count: number, term: (k: number) => T): T {
  return Array.from({ length: count }, (_, k) => term(k)).reduce((a, b) => tf.add(a, b));
}

/** The sum over all elements on all workers. */
function total(x: tf.Tensor): tf.Scalar {
  return nn.allReduce(tf.sum(x) as tf.Scalar);
}

async function taken(tensor: tf.Tensor): Promise<Float32Array> {
  const data = (await tensor.data()) as Float32Array;
  tensor.dispose();
  return data;
}
