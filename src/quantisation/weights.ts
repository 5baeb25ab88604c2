/** Weights as int8, each output channel (or the whole matrix) by its own scale. */

export const GRANULARITIES = ['tensor', 'channel'] as const;
export type Granularity = (typeof GRANULARITIES)[number];

export interface QuantisedMatrix {
  /** [inner, columns], row-major, within [-127, 127]. */
  readonly data: Int8Array;
  /** What one step stands for, per column. */
  readonly scales: Float32Array;
}

const LIMIT = 127;

/** Of [inner, columns], or [columns, inner] when `transposed`, row-major. A column of zeros has scale 1. */
export function quantiseMatrix(
  matrix: ArrayLike<number>,
  { inner, columns, transposed }: { readonly inner: number; readonly columns: number; readonly transposed: boolean },
  granularity: Granularity,
): QuantisedMatrix {
  const [byRow, byColumn] = transposed ? [1, inner] : [columns, 1];
  const at = (row: number, column: number): number => matrix[row * byRow + column * byColumn] as number;
  const scales = new Float32Array(columns);
  for (let column = 0; column < columns; column++) {
    let largest = 0;
    for (let row = 0; row < inner; row++) largest = Math.max(largest, Math.abs(at(row, column)));
    scales[column] = largest / LIMIT;
  }
  if (granularity === 'tensor') scales.fill(scales.reduce((largest, scale) => Math.max(largest, scale), 0));
  const data = new Int8Array(inner * columns);
  for (let column = 0; column < columns; column++) {
    if (scales[column] === 0) scales[column] = 1;
    const scale = scales[column] as number;
    for (let row = 0; row < inner; row++) {
      data[row * columns + column] = Math.max(-LIMIT, Math.min(LIMIT, roundToEven(at(row, column) / scale)));
    }
  }
  return { data, scales };
}

/** To the nearest integer, ties to the even one, as the kernels round. */
export function roundToEven(x: number): number {
  const nearest = Math.round(x);
  return nearest - x === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}
