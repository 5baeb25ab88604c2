/**
 * Convolutions through cuDNN, on the stand-in card a plain loop: paddings that cuDNN cannot say, filters that lie otherwise, fewer bits, and
 * our own kernels where it is refused. The stand-in's quicker algorithm is not deterministic and gives a wrong result.
 */
import { afterEach, describe, expect, it } from 'vitest';
import type { Attrs } from '../../src/graph/graph.js';
import { loadAddon } from '../../src/runtime/native/addon.js';
import { expectAlike, nodeOf, relativeError, type Tensor, tensor } from './card.js';

const float = (shape: readonly number[]) => ({ shape, dtype: 'float32' as const });
const DIRECTIONS = ['forward', 'input gradient', 'filter gradient'] as const;
type Direction = (typeof DIRECTIONS)[number];

interface Case {
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Spatial dims. */
  readonly taps: readonly number[];
  readonly attrs: Attrs;
}

const CASES: readonly Case[] = [
  { x: [2, 7, 9, 3], y: [2, 7, 9, 5], taps: [3, 3], attrs: { strides: 1, pad: 'same' } },
  // One row and one column more at the end than at the beginning.
  { x: [2, 8, 6, 4], y: [2, 4, 3, 8], taps: [3, 3], attrs: { strides: 2, pad: 'same' } },
  { x: [1, 10, 9, 3], y: [1, 5, 5, 4], taps: [4, 2], attrs: { strides: 2, pad: 'same' } },
  { x: [2, 8, 9, 5], y: [2, 3, 4, 6], taps: [3, 3], attrs: { strides: 2, pad: 'valid' } },
  { x: [1, 11, 9, 4], y: [1, 9, 5, 40], taps: [2, 3], attrs: { dilations: 2, strides: 1, pad: 'valid' } },
  // More before than after, and an end that nobody reads.
  {
    x: [1, 7, 7, 2],
    y: [1, 4, 3, 3],
    taps: [2, 2],
    attrs: { strides: 2, pad: [0, 0, 2, 0, 0, 0, 0, 0] },
  },
  { x: [2, 4, 5, 6, 3], y: [2, 2, 3, 3, 4], taps: [2, 3, 3], attrs: { strides: 2, pad: 'same' } },
];

/** The node of a direction with random operands. */
function call({ x, y, taps, attrs }: Case, direction: Direction) {
  const w = [...taps, x.at(-1)!, y.at(-1)!];
  const suffix = taps.length === 3 ? '3D' : '2D';
  const [image, filter, dy] = [tensor(x, 1), tensor(w, 2), tensor(y, 3)];
  const of = (kernel: string, inputs: Record<string, Tensor>, shape: readonly number[], more: Attrs = {}) =>
    [kernel, inputs, [float(shape)], { ...attrs, ...more }] as const;
  if (direction === 'forward') return of(`Conv${suffix}`, { x: image, filter }, y);
  if (direction === 'input gradient')
    return of(`Conv${suffix}BackpropInput${taps.length === 3 ? 'V2' : ''}`, { dy, filter }, x, { inputShape: [...x] });
  return of(`Conv${suffix}BackpropFilter${taps.length === 3 ? 'V2' : ''}`, { x: image, dy }, w, { filterShape: w });
}

const each = CASES.flatMap((one) => DIRECTIONS.map((direction) => ({ one, direction })));
const numbers = (data: unknown) => Array.from(data as Float32Array);

describe.skipIf(process.env.MERAK_TEST_GPU === '1' && loadAddon().gpuLibraries().at(-1)?.path === '')('cuDNN', () => {
  it.each(each)('$direction $one.x $one.taps $one.attrs', ({ one, direction }) => {
    expectAlike(...call(one, direction));
  });

  it.each(DIRECTIONS.flatMap((direction) => (['bf16', 'f16'] as const).map((precision) => ({ direction, precision }))))(
    '$direction in $precision is float32 but for its rounding',
    ({ direction, precision }) => {
      const [kernel, inputs, outputs, attrs] = call(CASES[1]!, direction);
      const arrays = Object.values(inputs).map(({ data }) => data);
      const exact = numbers(loadAddon().runKernel(nodeOf(kernel, inputs, outputs, attrs), arrays)[0]);
      const rounded = numbers(
        loadAddon().runCudaKernel(nodeOf(kernel, inputs, outputs, { ...attrs, precision }), arrays)[0],
      );
      const error = relativeError(rounded, exact);
      expect(error).toBeLessThan(precision === 'bf16' ? 1e-2 : 1e-3);
      // It was rounded: else another kernel ran.
      expect(error).toBeGreaterThan(1e-5);
    },
  );

  it('rounds float32 operands to tf32 only where that is asked for', () => {
    const [kernel, inputs, outputs, attrs] = call(CASES[0]!, 'forward');
    const arrays = Object.values(inputs).map(({ data }) => data);
    const exact = numbers(loadAddon().runKernel(nodeOf(kernel, inputs, outputs, attrs), arrays)[0]);
    const error = (more: Attrs) =>
      relativeError(
        numbers(loadAddon().runCudaKernel(nodeOf(kernel, inputs, outputs, { ...attrs, ...more }), arrays)[0]),
        exact,
      );
    expect(error({})).toBeLessThan(1e-6);
    expect(error({ precision: 'tf32' })).toBeLessThan(1e-3);
    expect(error({ precision: 'tf32' })).toBeGreaterThan(1e-5);
  });
});

describe('where cuDNN is not used, our own kernel computes in float32', () => {
  afterEach(() => {
    delete process.env.MERAK_CUDNN;
    delete process.env.MERAK_STANDIN_CUDNN_REFUSES;
  });
  it.each(['MERAK_CUDNN', 'MERAK_STANDIN_CUDNN_REFUSES'])('%s', (setting) => {
    process.env[setting] = 'off';
    for (const direction of DIRECTIONS) {
      const [kernel, inputs, outputs, attrs] = call(CASES[1]!, direction);
      // On a real card nobody refuses: there it is only shown that the setting does no harm.
      const tolerance = process.env.MERAK_TEST_GPU === '1' ? 1e-2 : 1e-5;
      expectAlike(kernel, inputs, outputs, { ...attrs, precision: 'bf16' }, { tolerance });
    }
  });
});
