/** Average pooling over padded borders: the forward pass divides by the taps inside, tfjs's gradient by all taps. */
import * as tf from '@tensorflow/tfjs';
import { input, numbers, only, product } from './access.js';
import type { Call, GradientRule, GradientRules } from './rule.js';

/** tfjs's own rules, which are right once dy is scaled by (all taps / taps inside). */
export function averagePoolGradients(fallback: (kernel: string) => GradientRule | undefined): GradientRules {
  const corrected =
    (kernel: string, numSpatial: number): GradientRule =>
    (dys, call) => {
      const correction = missingTaps(call, numSpatial);
      const dy = correction === undefined ? only(dys) : tf.mul(only(dys), correction);
      return fallback(kernel)?.([dy], call) ?? {};
    };
  return { AvgPool: corrected('AvgPool', 2), AvgPool3D: corrected('AvgPool3D', 3) };
}

/** (all taps / taps inside) per output position, [1, ...spatial, 1]; undefined where every tap is inside. */
function missingTaps(call: Call, numSpatial: number): tf.Tensor | undefined {
  const inSizes = input(call, 'x').shape.slice(1, 1 + numSpatial);
  const outSizes = (call.outputs[0]?.shape ?? []).slice(1, 1 + numSpatial);
  const filters = each(numbers(call.attrs, 'filterSize'), numSpatial);
  const strides = each(numbers(call.attrs, 'strides'), numSpatial);
  const taps = outSizes.map((outSize, dim) => {
    const [filter = 1, stride = 1, inSize = 1] = [filters[dim], strides[dim], inSizes[dim]];
    const before = paddingBefore(call, dim, inSize, outSize, filter, stride);
    return Array.from({ length: outSize }, (_, position) => {
      const start = position * stride - before;
      return Math.max(1, Math.min(inSize, start + filter) - Math.max(0, start));
    });
  });
  if (taps.every((counts, dim) => counts.every((count) => count === filters[dim]))) return undefined;
  const all = product(filters);
  const ratios = taps
    .reduce((outer, counts) => outer.flatMap((a) => counts.map((b) => a * b)), [1])
    .map((inside) => all / inside);
  return tf.tensor(ratios, [1, ...outSizes, 1], 'float32');
}

/** tfjs's padding rules: 'valid', 'same', one number, or [before, after] per dim (NHWC). */
function paddingBefore(
  call: Call,
  dim: number,
  inSize: number,
  outSize: number,
  filter: number,
  stride: number,
): number {
  const { pad } = call.attrs;
  if (pad === 'valid') return 0;
  if (pad === 'same') return Math.floor(Math.max(0, (outSize - 1) * stride + filter - inSize) / 2);
  if (typeof pad === 'number') return pad;
  const pair = Array.isArray(pad) ? pad[dim + 1] : undefined;
  return Array.isArray(pair) ? Number(pair[0]) : 0;
}

function each(values: readonly number[], count: number): number[] {
  return values.length === 1 ? Array<number>(count).fill(values[0] ?? 1) : values.slice(-count);
}
