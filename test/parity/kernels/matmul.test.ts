/** BatchMatMul and _FusedMatMul against the CPU backend. */
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { loadAddon } from '../../../src/runtime/native/addon.js';
import { runs } from '../cases.js';
import { expectClose, expectParity, type Input, runReference, useReferenceBackend } from '../compare.js';
import { floats, seeded } from './draw.js';

beforeAll(useReferenceBackend);

const TOLERANCE = { relative: 1e-5, absolute: 1e-5 };

test('any rank, transposition and broadcast batch dims', () => {
  const dim = fc.integer({ min: 1, max: 9 });
  fc.assert(
    fc.property(
      fc.record({
        batch: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
        onesA: fc.boolean(),
        onesB: fc.boolean(),
        m: dim,
        k: dim,
        n: dim,
        transposeA: fc.boolean(),
        transposeB: fc.boolean(),
        seed: fc.nat(),
      }),
      ({ batch, onesA, onesB, m, k, n, transposeA, transposeB, seed }) => {
        const random = seeded(seed);
        const aBatch = onesA ? batch.map(() => 1) : batch;
        const bBatch = onesB && !onesA ? batch.map(() => 1) : batch;
        const a = floats('a', [...aBatch, ...(transposeA ? [k, m] : [m, k])], random);
        const b = floats('b', [...bBatch, ...(transposeB ? [n, k] : [k, n])], random);
        expectParity('BatchMatMul', [a, b], { transposeA, transposeB }, { tolerance: TOLERANCE });
      },
    ),
    runs(150),
  );
});

test('sizes past oneDNN blocks, and an empty inner dim', () => {
  const random = seeded(1);
  for (const [m, k, n] of [
    [65, 130, 33],
    [1, 257, 64],
    [128, 1, 7],
    [3, 0, 4],
  ] as const) {
    const inputs = [floats('a', [m, k], random), floats('b', [k, n], random)];
    expectParity('BatchMatMul', inputs, { transposeA: false, transposeB: false }, { tolerance: TOLERANCE });
  }
});

test('_FusedMatMul with bias and activations', () => {
  const random = seeded(2);
  for (const activation of ['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'leakyrelu']) {
    const inputs = [floats('a', [5, 7], random), floats('b', [7, 11], random), floats('bias', [11], random)];
    const attrs = { transposeA: false, transposeB: false, activation, leakyreluAlpha: 0.3 };
    expectParity('_FusedMatMul', inputs, attrs, { tolerance: TOLERANCE });
  }
});

test('accumulate adds to what is there', () => {
  const random = seeded(3);
  const inputs: Input[] = [floats('a', [20, 6], random), floats('b', [20, 9], random)];
  const attrs = { transposeA: true, transposeB: false };
  const start = floats('start', [6, 9], random).data;
  const [product] = runReference('BatchMatMul', inputs, attrs);
  const [sum] = loadAddon().runKernel(
    {
      kernel: 'BatchMatMul',
      inputs,
      inputNames: ['a', 'b'],
      outputs: [{ shape: [6, 9], dtype: 'float32' }],
      attrs: { ...attrs, accumulate: true },
    },
    inputs.map(({ data }) => data),
    { outputs: [start] },
  );
  const expected = Float32Array.from(start, (value, i) => value + (product?.data[i] ?? Number.NaN));
  expectClose(sum ?? new Float32Array(), expected, TOLERANCE, 'accumulated product');
});

test('few rows by a weight that stays packed: any size, transposition, bias, sum', () => {
  const form = fc.constantFrom('plain', 'bias', 'one bias', 'accumulate');
  const size = (max: number) => fc.integer({ min: 1, max });
  const shape = fc.tuple(size(300), size(600), size(120));
  fc.assert(
    fc.property(shape, fc.boolean(), form, fc.nat(), ([m, k, n], transposeB, form, seed) => {
      const random = seeded(seed);
      const operands = [floats('a', [m, k], random), floats('b', transposeB ? [n, k] : [k, n], random)];
      const bias = floats('bias', form === 'bias' ? [n] : [], random);
      const hasBias = form.endsWith('bias');
      const inputs = hasBias ? [...operands, bias] : operands;
      const start = floats('start', [m, n], random).data as Float32Array;
      const attrs = { transposeA: false, transposeB };
      const [product] = runReference('BatchMatMul', operands, attrs);
      const [sum] = loadAddon().runKernel(
        {
          kernel: hasBias ? '_FusedMatMul' : 'BatchMatMul',
          inputs,
          inputNames: inputs.map(({ name }) => name),
          outputs: [{ shape: [m, n], dtype: 'float32' }],
          attrs: { ...attrs, weightStays: true, accumulate: form === 'accumulate' },
        },
        inputs.map(({ data }) => data),
        form === 'accumulate' ? { outputs: [Float32Array.from(start)] } : {},
      );
      const added = (i: number) =>
        hasBias ? (bias.data[form === 'bias' ? i % n : 0] as number) : form === 'accumulate' ? start[i]! : 0;
      const expected = Float32Array.from(product!.data, (value, i) => value + added(i));
      // Sums of up to 600 terms, in another order.
      expectClose(sum!, expected, { relative: 1e-4, absolute: 1e-3 }, `${form} of ${m}, ${k}, ${n}`);
    }),
    runs(60),
  );
});

test('refuses what it cannot do, naming the node', () => {
  const spec = {
    kernel: 'BatchMatMul',
    inputs: [
      { shape: [2, 3], dtype: 'float32' as const },
      { shape: [4, 5], dtype: 'float32' as const },
    ],
    inputNames: ['a', 'b'],
    outputs: [{ shape: [2, 5], dtype: 'float32' as const }],
    attrs: { transposeA: false, transposeB: false },
  };
  expect(loadAddon().supports(spec)).toMatch(/BatchMatMul\(a: float32\[2,3\], b: float32\[4,5\]\).*inner dims differ/);
});
