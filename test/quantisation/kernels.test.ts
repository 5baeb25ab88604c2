/** The int8 kernels against sums in plain integers, and against the tfjs composites. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureKernels, KERNELS } from '../../src/kernels/register.js';
import { loadAddon } from '../../src/runtime/native/addon.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

interface Case {
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
  readonly seed: number;
  readonly activation: 'linear' | 'relu' | 'gelu_tanh' | 'gelu_none';
  readonly bias: boolean;
  readonly outputScale: number;
}

/** Deterministic integers in [-127, 127], extremes included. */
function int8s(length: number, seed: number): Int8Array {
  let state = seed * 2654435761 + 12345;
  return Int8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const draw = state >>> 8;
    return draw % 9 === 0 ? 127 : draw % 9 === 1 ? -127 : (draw % 255) - 127;
  });
}

function operands({ rows, inner, columns, seed }: Case) {
  const a = int8s(rows * inner, seed);
  const b = int8s(inner * columns, seed + 1);
  const scales = Float32Array.from({ length: columns }, (_, j) => 1e-4 * (1 + ((j * 7 + seed) % 13)));
  const bias = Float32Array.from({ length: columns }, (_, j) => Math.sin(j + seed));
  return { a, b, scales, bias };
}

function attrsOf({ activation, outputScale }: Case) {
  return {
    ...(activation === 'linear' ? {} : { activation }),
    ...(outputScale === 0 ? {} : { outputScale }),
  };
}

function native(one: Case, threads: number): Float32Array | Int8Array {
  const { rows, inner, columns, bias: hasBias, outputScale } = one;
  const { a, b, scales, bias } = operands(one);
  const row = { shape: [columns], dtype: 'float32' };
  const spec = {
    kernel: 'MerakQuantisedMatMul',
    inputs: [
      { shape: [rows, inner], dtype: 'int8' },
      { shape: [inner, columns], dtype: 'int8' },
      row,
      ...(hasBias ? [row] : []),
    ],
    inputNames: ['a', 'b', 'scales', ...(hasBias ? ['bias'] : [])],
    outputs: [{ shape: [rows, columns], dtype: outputScale === 0 ? 'float32' : 'int8' }],
    attrs: attrsOf(one),
    scope: '',
  };
  loadAddon().setThreads(threads);
  const [y] = loadAddon().runKernel(spec as never, [a, b, scales, ...(hasBias ? [bias] : [])] as never);
  return y as unknown as Float32Array | Int8Array;
}

function reference(one: Case): ArrayLike<number> {
  const { rows, inner, columns, bias: hasBias } = one;
  const { a, b, scales, bias } = operands(one);
  return tf.tidy(() => {
    const inputs = {
      a: tf.tensor2d(Int32Array.from(a), [rows, inner], 'int32'),
      b: tf.tensor2d(Int32Array.from(b), [inner, columns], 'int32'),
      scales: tf.tensor1d(scales),
      ...(hasBias ? { bias: tf.tensor1d(bias) } : {}),
    };
    return tf.engine().runKernel<tf.Tensor>('MerakQuantisedMatMul', inputs, attrsOf(one)).dataSync().slice();
  });
}

const cases: fc.Arbitrary<Case> = fc.record({
  rows: fc.integer({ min: 1, max: 150 }),
  inner: fc.integer({ min: 1, max: 70 }),
  columns: fc.integer({ min: 1, max: 70 }),
  seed: fc.integer({ min: 0, max: 1000 }),
  activation: fc.constantFrom('linear', 'relu', 'gelu_tanh', 'gelu_none'),
  bias: fc.boolean(),
  outputScale: fc.constantFrom(0, 0.004, 0.1),
});

describe('MerakQuantisedMatMul', () => {
  it('sums exactly, in odd sizes and at the extremes', () => {
    fc.assert(
      fc.property(cases, fc.constantFrom(1, 2), (drawn, threads) => {
        const one = { ...drawn, activation: 'linear', bias: false, outputScale: 0 } as const;
        const { rows, inner, columns } = one;
        const { a, b, scales } = operands(one);
        const y = native(one, threads);
        for (let i = 0; i < rows; i++)
          for (let j = 0; j < columns; j++) {
            let sum = 0;
            for (let k = 0; k < inner; k++) sum += a[i * inner + k]! * b[k * columns + j]!;
            expect(y[i * columns + j]).toBe(Math.fround(sum * scales[j]!));
          }
      }),
      { numRuns: 40 },
    );
  });

  it('does not overflow 16 bits, nor lose a unit beyond the 24 bits of a float', () => {
    const inner = 4096;
    for (const last of [126, -127]) {
      const a = new Int8Array(inner).fill(127);
      const b = new Int8Array(inner).fill(127);
      b[inner - 1] = last;
      const row = { shape: [1], dtype: 'float32' };
      const spec = {
        kernel: 'MerakQuantisedMatMul',
        inputs: [{ shape: [1, inner], dtype: 'int8' }, { shape: [inner, 1], dtype: 'int8' }, row],
        inputNames: ['a', 'b', 'scales'],
        outputs: [{ shape: [1, 1], dtype: 'float32' }],
        attrs: {},
        scope: '',
      };
      const [y] = loadAddon().runKernel(spec as never, [a, b, Float32Array.of(1)] as never);
      expect(y![0]).toBe(Math.fround((inner - 1) * 127 * 127 + 127 * last));
      const inputs = {
        a: tf.tensor2d(Int32Array.from(a), [1, inner], 'int32'),
        b: tf.tensor2d(Int32Array.from(b), [inner, 1], 'int32'),
        scales: tf.tensor1d([1]),
      };
      expect(tf.engine().runKernel<tf.Tensor>('MerakQuantisedMatMul', inputs, {}).dataSync()[0]).toBe(y![0]);
    }
  });

  it('agrees with the composite on tfjs: bias, activation, int8 results', () => {
    fc.assert(
      fc.property(cases, fc.constantFrom(1, 2), (one, threads) => {
        const [y, expected] = [native(one, threads), reference(one)];
        let apart = 0;
        for (let i = 0; i < y.length; i++) {
          const difference = Math.abs(y[i]! - expected[i]!);
          if (one.outputScale === 0) expect(difference).toBeLessThanOrEqual(3e-6 * Math.abs(expected[i]!) + 5e-7);
          else if (difference !== 0) {
            // Only what float32 leaves on the edge between two steps may fall on either side.
            expect(difference).toBe(1);
            apart++;
          }
        }
        expect(apart).toBeLessThanOrEqual(1 + y.length / 1000);
      }),
      { numRuns: 60 },
    );
  });

  it('gives the same whatever the number of threads', () => {
    const one: Case = {
      rows: 301,
      inner: 65,
      columns: 130,
      seed: 3,
      activation: 'gelu_none',
      bias: true,
      outputScale: 0,
    };
    expect(native(one, 2)).toEqual(native(one, 1));
  });

  it('names what it cannot do', () => {
    const types = (dtype: string) => [
      { shape: [2, 3], dtype },
      { shape: [3, 4], dtype: 'int8' },
      { shape: [4], dtype: 'float32' },
    ];
    const spec = (inputs: object[], attrs: object) => ({
      kernel: 'MerakQuantisedMatMul',
      inputs,
      inputNames: ['a', 'b', 'scales'],
      outputs: [{ shape: [2, 4], dtype: 'float32' }],
      attrs,
      scope: 'here',
    });
    const why = (inputs: object[], attrs: object) => loadAddon().supports(spec(inputs, attrs) as never);
    expect(why(types('float32'), {})).toContain('must be int8');
    expect(why(types('int8'), { activation: 'softplus' })).toContain('softplus');
    expect(why(types('int8'), {})).toBe('');
  });
});

describe('MerakQuantise', () => {
  it('rounds ties to even, clips, and agrees with tfjs', () => {
    const x = Float32Array.of(
      0,
      0.5,
      1.5,
      2.5,
      -0.5,
      -1.5,
      126.5,
      127.4,
      1e9,
      -1e9,
      Number.NaN,
      Infinity,
      -Infinity,
      -126.49,
    );
    const type = { shape: [x.length] };
    const spec = {
      kernel: 'MerakQuantise',
      inputs: [{ ...type, dtype: 'float32' }],
      inputNames: ['x'],
      outputs: [{ ...type, dtype: 'int8' }],
      attrs: { scale: 1 },
      scope: '',
    };
    const [y] = loadAddon().runKernel(spec as never, [x]);
    expect([...y!]).toEqual([0, 0, 2, 2, 0, -2, 126, 127, 127, -127, 0, 127, -127, -126]);
    const onTfjs = tf
      .engine()
      .runKernel<tf.Tensor>('MerakQuantise', { x: tf.tensor1d(x) }, { scale: 1 })
      .dataSync();
    expect([...onTfjs].map((value) => value + 0)).toEqual([...y!]);
  });

  it('is registered with the others', () => {
    expect(KERNELS.map(({ kernel }) => kernel)).toEqual(
      expect.arrayContaining(['MerakQuantise', 'MerakQuantisedMatMul']),
    );
  });
});
