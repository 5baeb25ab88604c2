/** Matrix products and what follows them. */
import { type Case, caseOf, type Doubles, doubles, fresh, narrow, type Precision } from './case.js';

/** [m, k] x [k, n], either side transposed. */
function product(a: Doubles, b: Doubles, transposeA = false, transposeB = false): Doubles {
  const [m, k] = transposeA ? [a.shape[1]!, a.shape[0]!] : [a.shape[0]!, a.shape[1]!];
  const n = b.shape[transposeB ? 0 : 1]!;
  const y = doubles([m, n]);
  for (let i = 0; i < m; i++)
    for (let l = 0; l < k; l++) {
      const factor = a.data[transposeA ? l * m + i : i * k + l]!;
      for (let j = 0; j < n; j++) y.data[i * n + j]! += factor * b.data[transposeB ? j * k + l : l * n + j]!;
    }
  return y;
}

const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);
export const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(SQRT_2_OVER_PI * (x + 0.044715 * x ** 3)));
export function geluSlope(x: number): number {
  const t = Math.tanh(SQRT_2_OVER_PI * (x + 0.044715 * x ** 3));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * SQRT_2_OVER_PI * (1 + 3 * 0.044715 * x * x);
}

const [M, K, N] = [37, 88, 56];

function plain(precision: Precision, transposeA: boolean, transposeB: boolean): Case {
  const inputs = { a: fresh(transposeA ? [K, M] : [M, K]), b: fresh(transposeB ? [N, K] : [K, N]) };
  const attrs = { transposeA, transposeB, ...(precision === 'f32' ? {} : { precision }) };
  return caseOf('BatchMatMul', precision, inputs, attrs, ['float32'], ({ a, b }) => [
    product(a, b, transposeA, transposeB),
  ]);
}

function finished(precision: 'bf16' | 'f16'): Case[] {
  const dtype = narrow(precision);
  const inputs = { a: fresh([M, K], dtype), b: fresh([K, N], dtype), bias: fresh([N]) };
  const withGelu = caseOf('MerakProduct', precision, inputs, { precision, gelu: 'tanh' }, [dtype, dtype], (given) => {
    const y = product(given.a, given.b);
    const sums = doubles(
      y.shape,
      y.data.map((x, i) => x + given.bias.data[i % N]!),
    );
    return [sums, doubles(y.shape, sums.data.map(gelu))];
  });
  const residual = { ...inputs, residual: fresh([M, N]) };
  const withResidual = caseOf('MerakProduct', precision, residual, { precision }, ['float32'], (given) => {
    const y = product(given.a, given.b);
    return [
      doubles(
        y.shape,
        y.data.map((x, i) => x + given.bias.data[i % N]! + given.residual.data[i]!),
      ),
    ];
  });
  const slope = { a: inputs.a, b: fresh([N, K], dtype), point: fresh([M, N], dtype) };
  const attrs = { precision, transposeB: true, gelu: 'tanh' };
  const withSlope = caseOf('MerakProduct', precision, slope, attrs, [dtype], (given) => {
    const y = product(given.a, given.b, false, true);
    return [
      doubles(
        y.shape,
        y.data.map((x, i) => x * geluSlope(given.point.data[i]!)),
      ),
    ];
  });
  return [withGelu, withResidual, withSlope];
}

export const productCases = (): Case[] => [
  ...(['f32', 'tf32', 'bf16', 'f16'] as const).map((precision, k) => plain(precision, k % 2 === 1, k > 1)),
  ...finished('bf16'),
  ...finished('f16'),
];
