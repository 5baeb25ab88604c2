/** A node and what it computes, written down in double. */
import type { Attrs } from '../../../src/graph/graph.js';
import { numbersOf, type Stored, sizeOf, stored, type Tensor, tensor } from '../card.js';

/** What the arithmetic allows: ||out - reference|| / ||reference||. */
export const BOUNDS = { f32: 1e-5, tf32: 1e-3, bf16: 1e-2, f16: 1e-2 } as const;
export type Precision = keyof typeof BOUNDS;

/** Row-major numbers; those of inputs are exactly what the card is given. */
export interface Doubles {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export interface Case {
  readonly kernel: string;
  readonly precision: Precision;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly outputs: readonly { readonly shape: readonly number[]; readonly dtype: Stored }[];
  readonly attrs: Attrs;
  readonly reference: readonly Doubles[];
}

export const doubles = (
  shape: readonly number[],
  data: ArrayLike<number> = new Float64Array(sizeOf(shape)),
): Doubles => ({
  shape,
  data: Float64Array.from(data),
});
export const inDouble = ({ shape, dtype, data }: Tensor): Doubles => doubles(shape, numbersOf(data, dtype));
/** A reference as an input of what comes next: rounded as it is stored. */
export const storedAs = ({ shape, data }: Doubles, dtype: Stored): Tensor => ({
  shape,
  dtype,
  data: stored(data, dtype),
});

/** The type that holds what is computed in this precision. */
export const narrow = (precision: Precision): Stored =>
  precision === 'bf16' ? 'bfloat16' : precision === 'f16' ? 'float16' : 'float32';

let drawn = 0;
// `npm run gpu` asks for MERAK_SEED=random: new numbers in every run (test/seed.ts).
const start = Number(process.env.MERAK_SEED ?? 1);
/** A tensor that no other case has. */
export const fresh = (shape: readonly number[], dtype: Stored = 'float32', spread?: number): Tensor =>
  tensor(shape, start * 1000 + drawn++, dtype, spread);
export const positive = (shape: readonly number[]): Tensor => {
  const one = fresh(shape);
  return {
    ...one,
    data: stored(
      Array.from(one.data as Float32Array, (x) => Math.abs(x) + 0.1),
      'float32',
    ),
  };
};

/** Where a flat index lies, dim by dim. */
export function placeOf(index: number, shape: readonly number[]): number[] {
  const place = new Array<number>(shape.length);
  for (let d = shape.length - 1; d >= 0; d--) {
    place[d] = index % shape[d]!;
    index = Math.floor(index / shape[d]!);
  }
  return place;
}

/** A case of `kernel` whose reference is computed from its inputs. */
export function caseOf<Inputs extends Readonly<Record<string, Tensor>>>(
  kernel: string,
  precision: Precision,
  inputs: Inputs,
  attrs: Attrs,
  outputs: readonly Stored[],
  compute: (inputs: { readonly [Name in keyof Inputs]: Doubles }) => readonly Doubles[],
): Case {
  const given = Object.fromEntries(Object.entries(inputs).map(([name, one]) => [name, inDouble(one)]));
  const reference = compute(given as { readonly [Name in keyof Inputs]: Doubles });
  return {
    kernel,
    precision,
    inputs,
    attrs,
    outputs: outputs.map((dtype, k) => ({ shape: reference[k]!.shape, dtype })),
    reference,
  };
}
