/** Eigenvectors: the matrix is rebuilt from them, they are orthonormal, and known spectra come out. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { symmetricEigen } from '../../../src/trainers/linalg/symmetricEigen.js';

function rebuilt({ values, vectors }: { values: Float64Array; vectors: Float64Array }, n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let r = 0; r < n; r++)
      for (let c = 0; c < n; c++) out[r * n + c]! += values[i]! * vectors[i * n + r]! * vectors[i * n + c]!;
  return out;
}

it('any symmetric matrix is the sum of its values over orthonormal vectors', () => {
  const entries = fc.integer({ min: 1, max: 9 }).chain((n) =>
    fc.record({
      n: fc.constant(n),
      // Small whole numbers make equal eigenvalues and matrices that fall apart frequent.
      lower: fc.array(fc.oneof(fc.integer({ min: -2, max: 2 }), fc.double({ min: -1e3, max: 1e3, noNaN: true })), {
        minLength: n * n,
        maxLength: n * n,
      }),
    }),
  );
  fc.assert(
    fc.property(entries, ({ n, lower }) => {
      const matrix = lower.map((_, at) => {
        const [row, column] = [Math.floor(at / n), at % n];
        return row >= column ? lower[at]! : lower[column * n + row]!;
      });
      const eigen = symmetricEigen(matrix, n);
      const scale = Math.max(1, ...matrix.map(Math.abs));
      rebuilt(eigen, n).forEach((value, at) => {
        expect(Math.abs(value - matrix[at]!)).toBeLessThan(1e-11 * scale * n);
      });
      for (let i = 0; i < n; i++) {
        if (i > 0) expect(eigen.values[i]!).toBeLessThanOrEqual(eigen.values[i - 1]!);
        for (let j = 0; j < n; j++) {
          let dot = 0;
          for (let k = 0; k < n; k++) dot += eigen.vectors[i * n + k]! * eigen.vectors[j * n + k]!;
          expect(dot).toBeCloseTo(i === j ? 1 : 0, 10);
        }
      }
    }),
  );
});

it('the second-difference matrix has the values 2 - 2 cos(pi k / (n + 1))', () => {
  const n = 120;
  const matrix = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    matrix[i * n + i] = 2;
    if (i > 0) {
      matrix[i * n + i - 1] = -1;
      matrix[(i - 1) * n + i] = -1;
    }
  }
  const { values } = symmetricEigen(matrix, n);
  values.forEach((value, i) => {
    expect(value).toBeCloseTo(2 - 2 * Math.cos((Math.PI * (n - i)) / (n + 1)), 11);
  });
});

it('refuses what is no matrix', () => {
  expect(() => symmetricEigen([1, 2, 3], 2)).toThrow(/eigenvalues/);
  expect(() => symmetricEigen([1, 0, Number.NaN, 1], 2)).toThrow(/eigenvalues/);
});
