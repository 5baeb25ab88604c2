/** Generated tensors: shapes of rank 0 to 6, empty ones among them, with the values that kernels stumble over. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';

export type DType = 'float32' | 'int32' | 'bool';

export interface Drawn {
  readonly shape: number[];
  readonly dtype: DType;
  readonly values: number[];
}

const AWKWARD = [0, -0, 1, -1, 0.5, 1.5, 2.5, -0.5, -2.5, Number.NaN, Infinity, -Infinity, 1e30, -1e30, 1e-30, 88, -88];
const LARGE_INTEGERS = [2 ** 31 - 1, -(2 ** 31), 65536, 46341, -46341, 2 ** 24 + 1];

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Dims `min` to `max`. */
export const shapes = (maxRank = 6, { min = 0, max = 4, minRank = 0 } = {}): fc.Arbitrary<number[]> =>
  fc.array(fc.integer({ min, max }), { minLength: minRank, maxLength: maxRank });

export interface ValueOptions {
  readonly low?: number;
  readonly high?: number;
  /** Mixed with NaN, infinities and halves, or with integers that overflow. */
  readonly awkward?: boolean;
}

function value(dtype: DType, { low = -5, high = 5, awkward = false }: ValueOptions): fc.Arbitrary<number> {
  if (dtype === 'bool') return fc.integer({ min: 0, max: 1 });
  const ordinary =
    dtype === 'int32'
      ? fc.integer({ min: Math.ceil(low), max: Math.floor(high) })
      : fc.integer({ min: 0, max: 10000 }).map((step) => Math.fround(low + ((high - low) * step) / 10000));
  if (!awkward) return ordinary;
  return fc.oneof(
    { weight: 4, arbitrary: ordinary },
    { weight: 1, arbitrary: fc.constantFrom(...(dtype === 'int32' ? LARGE_INTEGERS : AWKWARD.map(Math.fround))) },
  );
}

export const valuesOf = (shape: number[], dtype: DType, options: ValueOptions = {}): fc.Arbitrary<Drawn> =>
  fc
    .array(value(dtype, options), { minLength: sizeOf(shape), maxLength: sizeOf(shape) })
    .map((values) => ({ shape, dtype, values }));

export const tensors = (
  shape: fc.Arbitrary<number[]>,
  dtype: fc.Arbitrary<DType> = fc.constant('float32'),
  options: ValueOptions = {},
): fc.Arbitrary<Drawn> => fc.tuple(shape, dtype).chain(([dims, type]) => valuesOf(dims, type, options));

/** A shape, and another that broadcasts to it. */
export const broadcastPair = (maxRank = 5, min = 0): fc.Arbitrary<[number[], number[]]> =>
  shapes(maxRank, { min }).chain((target) =>
    fc
      .tuple(fc.integer({ min: 0, max: target.length }), fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }))
      .map(([drop, ones]): [number[], number[]] => [target, target.map((size, d) => (ones[d] ? 1 : size)).slice(drop)]),
  );

export const dtypes = fc.constantFrom<DType>('float32', 'int32', 'bool');

export function make({ shape, dtype, values }: Drawn): tf.Tensor {
  return tf.tensor(values, shape, dtype);
}

/** Runs `body` with tensors made of the drawn ones, and disposes them. */
export async function withTensors<T extends readonly Drawn[]>(
  drawn: T,
  body: (...tensors: { [K in keyof T]: tf.Tensor }) => Promise<void>,
): Promise<void> {
  const made = drawn.map(make);
  try {
    await body(...(made as { [K in keyof T]: tf.Tensor }));
  } finally {
    for (const tensor of made) tensor.dispose();
  }
}
