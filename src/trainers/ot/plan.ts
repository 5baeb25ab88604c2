/** A plan as low rank + sparse, in double precision: its marginals, its cost, and rounding to exact marginals. */
import type { Cloud } from './points.js';

/** Q R' + S, with S at (rows[e], columns[e]). */
export interface FactoredPlan {
  readonly rank: number;
  /** [n, rank] row-major. */
  readonly q: Float64Array;
  /** [m, rank] row-major. */
  readonly r: Float64Array;
  readonly rows: Int32Array;
  readonly columns: Int32Array;
  readonly values: Float64Array;
}

/** Row sums [n] and column sums [m]. */
export function marginalsOf(plan: FactoredPlan): { rowSums: Float64Array; columnSums: Float64Array } {
  const { rank, q, r, rows, columns, values } = plan;
  const rowSums = timesVector(q, rank, columnSumsOf(r, rank));
  const columnSums = timesVector(r, rank, columnSumsOf(q, rank));
  for (const [e, value] of values.entries()) {
    rowSums[rows[e]!]! += value;
    columnSums[columns[e]!]! += value;
  }
  return { rowSums, columnSums };
}

/** L1 distance of both marginals from what they should be. */
export function marginalResidual(plan: FactoredPlan, a: Float64Array, b: Float64Array): number {
  const { rowSums, columnSums } = marginalsOf(plan);
  const distance = (x: Float64Array, y: Float64Array): number => x.reduce((sum, v, i) => sum + Math.abs(v - y[i]!), 0);
  return distance(rowSums, a) + distance(columnSums, b);
}

/** <C, Q R' + S> for C_ij = |x_i - y_j|^2, without forming C. */
export function costOf(plan: FactoredPlan, x: Cloud, y: Cloud): number {
  const { rank, q, r, rows, columns, values } = plan;
  const d = x.dimension;
  let cost = 0;
  const [sq, sr] = [columnSumsOf(q, rank), columnSumsOf(r, rank)];
  const [nq, nr] = [weighted(q, rank, squaredNorms(x)), weighted(r, rank, squaredNorms(y))];
  for (let k = 0; k < rank; k++) cost += nq[k]! * sr[k]! + sq[k]! * nr[k]!;
  for (let c = 0; c < d; c++) {
    const coordinate = (cloud: Cloud) =>
      Float64Array.from({ length: cloud.size }, (_, i) => cloud.coordinates[i * d + c]!);
    const [xq, yr] = [weighted(q, rank, coordinate(x)), weighted(r, rank, coordinate(y))];
    for (let k = 0; k < rank; k++) cost -= 2 * xq[k]! * yr[k]!;
  }
  for (const [e, value] of values.entries()) cost += value * squaredDistance(x, rows[e]!, y, columns[e]!);
  return cost;
}

/**
 * Altschuler, Weed and Rigollet 2017, algorithm 2, kept factored: rows, then columns, are scaled down to their marginals,
 * and what is missing is added as one more rank.
 */
export function roundToMarginals(plan: FactoredPlan, a: Float64Array, b: Float64Array): FactoredPlan {
  const { rank, rows, columns } = plan;
  const shrink = (sums: Float64Array, to: Float64Array) => sums.map((sum, i) => (sum > to[i]! ? to[i]! / sum : 1));
  const rowScale = shrink(marginalsOf(plan).rowSums, a);
  const q = plan.q.map((value, i) => value * rowScale[Math.floor(i / rank)]!);
  const values = plan.values.map((value, e) => value * rowScale[rows[e]!]!);
  const columnScale = shrink(marginalsOf({ ...plan, q, values }).columnSums, b);
  const r = plan.r.map((value, j) => value * columnScale[Math.floor(j / rank)]!);
  const scaled = { ...plan, q, r, values: values.map((value, e) => value * columnScale[columns[e]!]!) };
  const { rowSums, columnSums } = marginalsOf(scaled);
  const missing = (to: Float64Array, sums: Float64Array) => to.map((value, i) => Math.max(0, value - sums[i]!));
  const [ra, cb] = [missing(a, rowSums), missing(b, columnSums)];
  const total = ra.reduce((sum, value) => sum + value, 0);
  if (total === 0) return scaled;
  const last = cb.map((value) => value / total);
  return { ...scaled, rank: rank + 1, q: appendColumn(q, rank, ra), r: appendColumn(r, rank, last) };
}

export function squaredDistance(x: Cloud, i: number, y: Cloud, j: number): number {
  const d = x.dimension;
  let sum = 0;
  for (let c = 0; c < d; c++) sum += (x.coordinates[i * d + c]! - y.coordinates[j * d + c]!) ** 2;
  return sum;
}

function squaredNorms({ size, dimension: d, coordinates }: Cloud): Float64Array {
  const norms = new Float64Array(size);
  for (const [i, value] of coordinates.entries()) norms[Math.floor(i / d)]! += value * value;
  return norms;
}

function columnSumsOf(matrix: Float64Array, rank: number): Float64Array {
  const sums = new Float64Array(rank);
  for (const [i, value] of matrix.entries()) sums[i % rank]! += value;
  return sums;
}

/** matrix' weights: [rank]. */
function weighted(matrix: Float64Array, rank: number, weights: Float64Array): Float64Array {
  const sums = new Float64Array(rank);
  for (const [i, value] of matrix.entries()) sums[i % rank]! += value * weights[Math.floor(i / rank)]!;
  return sums;
}

function timesVector(matrix: Float64Array, rank: number, vector: Float64Array): Float64Array {
  const product = new Float64Array(matrix.length / rank);
  for (const [i, value] of matrix.entries()) product[Math.floor(i / rank)]! += value * vector[i % rank]!;
  return product;
}

function appendColumn(matrix: Float64Array, rank: number, column: Float64Array): Float64Array {
  const wider = new Float64Array(column.length * (rank + 1));
  for (const [i, value] of matrix.entries()) wider[Math.floor(i / rank) * (rank + 1) + (i % rank)] = value;
  for (const [i, value] of column.entries()) wider[i * (rank + 1) + rank] = value;
  return wider;
}
