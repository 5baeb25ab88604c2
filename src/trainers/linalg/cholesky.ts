/** Orthonormalising few long columns through their small Gram matrix. */
import { MerakError } from '../../errors.js';

/**
 * With G = R'R (Cholesky), the inverse of the upper triangular R: X R^-1 has orthonormal columns where G = X'X.
 *
 * @param gram [n, n], symmetric
 * @returns [n, n]
 * @throws MerakError config/invalid: not positive definite, so that the columns of X depend on each other
 */
export function inverseCholesky(gram: ArrayLike<number>, n: number): Float64Array {
  const lower = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let rest = gram[i * n + j]!;
      for (let k = 0; k < j; k++) rest -= lower[i * n + k]! * lower[j * n + k]!;
      if (i !== j) lower[i * n + j] = rest / lower[j * n + j]!;
      else if (rest > 0) lower[i * n + i] = Math.sqrt(rest);
      else throw dependent(i, n);
    }
  }
  // Row i of the inverse of `lower`, which is column i of that of R.
  const inverse = new Float64Array(n * n);
  for (let column = 0; column < n; column++) {
    for (let i = column; i < n; i++) {
      let rest = i === column ? 1 : 0;
      for (let k = column; k < i; k++) rest -= lower[i * n + k]! * inverse[column * n + k]!;
      inverse[column * n + i] = rest / lower[i * n + i]!;
    }
  }
  return inverse;
}

function dependent(column: number, n: number): MerakError {
  return new MerakError('config/invalid', 'columns to orthonormalise depend on each other', {
    path: `column ${column} of ${n}`,
    hint: 'ask for fewer dimensions than the data has',
  });
}
