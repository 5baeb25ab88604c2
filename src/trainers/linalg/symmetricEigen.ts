/** Eigenvalues and eigenvectors of a real symmetric matrix, in double precision: no kernel of tfjs computes them. */
import { MerakError } from '../../errors.js';

export interface Eigen {
  /** Descending. */
  readonly values: Float64Array;
  /** [n, n] by rows: row i is the unit eigenvector of value i. */
  readonly vectors: Float64Array;
}

const MAX_ITERATIONS = 60;
/** Beside entries of at most 1. Smaller ones would overflow when divided by. */
const NEGLIGIBLE = 1e-100;

/**
 * By Householder tridiagonalisation and implicit QL with Wilkinson shifts (Golub and Van Loan, Matrix Computations, 8.3).
 *
 * @param matrix [n, n]; only its lower triangle is read
 * @throws MerakError config/invalid: sizes that do not fit, or values that are not finite
 */
export function symmetricEigen(matrix: ArrayLike<number>, n: number): Eigen {
  if (matrix.length !== n * n || n === 0) throw refused('an n by n matrix', `${matrix.length} numbers for n = ${n}`);
  const a = Float64Array.from({ length: n * n }, (_, at) => {
    const [row, column] = [Math.floor(at / n), at % n];
    return matrix[row >= column ? at : column * n + row]!;
  });
  if (!a.every(Number.isFinite)) throw refused('finite numbers', 'NaN or infinity');
  const scale = a.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  for (let at = 0; at < a.length; at++) {
    a[at]! /= scale;
    if (Math.abs(a[at]!) < NEGLIGIBLE) a[at] = 0;
  }
  const { diagonal, offDiagonal, basis } = tridiagonalise(a, n);
  iterate(diagonal, offDiagonal, basis, n);
  const order = Array.from(diagonal, (_, i) => i).sort((i, j) => diagonal[j]! - diagonal[i]!);
  const vectors = new Float64Array(n * n);
  for (const [row, from] of order.entries()) vectors.set(basis.subarray(from * n, (from + 1) * n), row * n);
  return { values: Float64Array.from(order, (from) => diagonal[from]! * scale), vectors };
}

interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** Entry i stands between rows i and i + 1; the last is 0. */
  readonly offDiagonal: Float64Array;
  /** Rows: the orthonormal vectors in which the matrix is tridiagonal. */
  readonly basis: Float64Array;
}

/** Destroys `a`. Reflection k clears row k beyond its neighbour. */
function tridiagonalise(a: Float64Array, n: number): Tridiagonal {
  const basis = new Float64Array(n * n);
  for (let i = 0; i < n; i++) basis[i * n + i] = 1;
  const reflections: { readonly v: Float64Array; readonly beta: number }[] = [];
  const offDiagonal = new Float64Array(n);
  for (let k = 0; k + 1 < n; k++) {
    const v = Float64Array.from(a.subarray(k * n, (k + 1) * n));
    v.fill(0, 0, k + 1);
    const norm = Math.hypot(...chunkNorms(v));
    const head = v[k + 1]!;
    const target = head > 0 ? -norm : norm;
    offDiagonal[k] = target;
    v[k + 1] = head - target;
    const beta = norm < NEGLIGIBLE ? 0 : 1 / (norm * (norm + Math.abs(head)));
    reflections.push({ v, beta });
    if (beta !== 0) reflectBothSides(a, n, k + 1, v, beta);
  }
  // The basis is the product of the reflections: applied from the last, each touches only what is already not the identity.
  for (let k = reflections.length - 1; k >= 0; k--) {
    const { v, beta } = reflections[k]!;
    if (beta === 0) continue;
    // Rows of `basis` are columns of the product, so the reflection acts within each row.
    for (let row = k + 1; row < n; row++) {
      const at = row * n;
      let dot = 0;
      for (let i = k + 1; i < n; i++) dot += v[i]! * basis[at + i]!;
      dot *= beta;
      for (let i = k + 1; i < n; i++) basis[at + i]! -= dot * v[i]!;
    }
  }
  return { diagonal: Float64Array.from({ length: n }, (_, i) => a[i * n + i]!), offDiagonal, basis };
}

/** a <- (1 - beta v v') a (1 - beta v v') on rows and columns from `begin`. */
function reflectBothSides(a: Float64Array, n: number, begin: number, v: Float64Array, beta: number): void {
  const w = new Float64Array(n);
  let vw = 0;
  for (let i = begin; i < n; i++) {
    let dot = 0;
    for (let j = begin, at = i * n + begin; j < n; j++, at++) dot += a[at]! * v[j]!;
    w[i] = beta * dot;
    vw += v[i]! * w[i]!;
  }
  for (let i = begin; i < n; i++) w[i]! -= 0.5 * beta * vw * v[i]!;
  for (let i = begin; i < n; i++) {
    const [vi, wi] = [v[i]!, w[i]!];
    for (let j = begin, at = i * n + begin; j < n; j++, at++) a[at]! -= vi * w[j]! + wi * v[j]!;
  }
}

/** Norms of pieces: Math.hypot takes its numbers as arguments, of which there may not be any number. */
function chunkNorms(v: Float64Array): number[] {
  return Array.from({ length: Math.ceil(v.length / 256) }, (_, i) => Math.hypot(...v.subarray(i * 256, (i + 1) * 256)));
}

/** Implicit QL: `d` becomes the eigenvalues, the rows of `z` the eigenvectors. */
function iterate(d: Float64Array, e: Float64Array, z: Float64Array, n: number): void {
  for (let low = 0; low < n; low++) {
    for (let count = 0; ; count++) {
      let high = low;
      while (high + 1 < n && !isNegligible(e[high]!, d[high]!, d[high + 1]!)) high++;
      if (high === low) break;
      if (count === MAX_ITERATIONS)
        throw refused('a matrix whose eigenvalues converge', `${MAX_ITERATIONS} iterations`);
      sweep(d, e, z, n, low, high);
    }
  }
}

function isNegligible(off: number, above: number, below: number): boolean {
  return Math.abs(off) <= Math.max(NEGLIGIBLE, Number.EPSILON * (Math.abs(above) + Math.abs(below)));
}

/** One QL step with a Wilkinson shift on rows `low` to `high`. */
function sweep(d: Float64Array, e: Float64Array, z: Float64Array, n: number, low: number, high: number): void {
  const half = (d[low + 1]! - d[low]!) / (2 * e[low]!);
  const root = Math.hypot(half, 1);
  let g = d[high]! - d[low]! + e[low]! / (half + (half < 0 ? -root : root));
  let [sine, cosine, p] = [1, 1, 0];
  for (let i = high - 1; i >= low; i--) {
    const f = sine * e[i]!;
    const b = cosine * e[i]!;
    const r = Math.hypot(f, g);
    e[i + 1] = r;
    if (r === 0) {
      // The matrix falls apart here.
      d[i + 1]! -= p;
      e[high] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    g = d[i + 1]! - p;
    const t = (d[i]! - g) * sine + 2 * cosine * b;
    p = sine * t;
    d[i + 1] = g + p;
    g = cosine * t - b;
    rotate(z, n, i, sine, cosine);
  }
  d[low]! -= p;
  e[low] = g;
  e[high] = 0;
}

/** Rows i and i + 1 of z. */
function rotate(z: Float64Array, n: number, i: number, sine: number, cosine: number): void {
  for (let at = i * n, below = at + n, end = below; at < end; at++, below++) {
    const [upper, lower] = [z[at]!, z[below]!];
    z[below] = sine * upper + cosine * lower;
    z[at] = cosine * upper - sine * lower;
  }
}

function refused(expected: string, received: string): MerakError {
  return new MerakError('config/invalid', 'the eigenvalues of a matrix cannot be computed', {
    path: 'symmetricEigen',
    expected,
    received,
  });
}
