/** Products with what follows them, and attention and norms on bfloat16 inputs, against float32 composites on tfjs's CPU backend. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { ensureKernels } from '../../../src/kernels/register.js';
import { fromBf16, noise, type Operand, type Result, runKernel, toBf16 } from './bf16Arithmetic.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const size = (shape: readonly number[]) => shape.reduce((product, dim) => product * dim, 1);
const dtype = fc.constantFrom<Result['dtype']>('float32', 'bfloat16');

/** Numbers that bfloat16 holds exactly, in either type. */
function operand(
  name: string,
  shape: readonly number[],
  seed: number,
  type: Result['dtype'] = 'float32',
  scale = 1,
): Operand {
  const data = toBf16(noise(size(shape), seed, scale));
  return { name, shape, data: type === 'bfloat16' ? data : fromBf16(data) };
}

/** The same kernel's reference on the CPU backend. */
function reference(kernel: string, inputs: readonly Operand[], attrs: tf.NamedAttrMap): Float32Array[] {
  return tf.tidy(() => {
    const tensors = inputs.map(({ name, shape, data }) => [
      name,
      data instanceof Int32Array
        ? tf.tensor(data, [...shape], 'int32')
        : tf.tensor(data instanceof Uint16Array ? fromBf16(data) : data, [...shape]),
    ]);
    const results = tf.engine().runKernel<tf.Tensor | tf.Tensor[]>(kernel, Object.fromEntries(tensors), attrs);
    return (Array.isArray(results) ? results : [results]).map((result) => result.dataSync() as Float32Array);
  });
}

/** Within `absolute`, and one unit in the last place of bfloat16 (2^-8 of the value) where that is how it is stored. */
function close(
  actual: Float32Array,
  expected: Float32Array,
  type: Result['dtype'],
  absolute: number,
  label: string,
): void {
  expect(actual.length).toBe(expected.length);
  const relative = type === 'bfloat16' ? 2 ** -7 : 1e-5;
  const worst = actual.findIndex((x, i) => {
    const y = expected[i]!;
    return !Object.is(x, y) && !(Math.abs(x - y) <= absolute + relative * Math.abs(y));
  });
  if (worst >= 0) expect.fail(`${label}: element ${worst} is ${actual[worst]} where ${expected[worst]} belongs`);
}

it('MerakProduct: any size, bias, residual, gelu and its gradient, any types', () => {
  const dim = fc.integer({ min: 1, max: 100 });
  const property = fc.property(
    fc.record({ m: dim, n: dim, k: dim, transposeA: fc.boolean(), transposeB: fc.boolean() }),
    fc.record({ bias: fc.boolean(), residual: fc.boolean(), gelu: fc.constantFrom('', 'activated', 'point') }),
    fc.record({ a: dtype, b: dtype, point: dtype, out: dtype, activated: dtype }),
    fc.constantFrom('tanh', 'none'),
    ({ m, n, k, transposeA, transposeB }, finish, types, approximate) => {
      const inputs = [
        operand('a', transposeA ? [k, m] : [m, k], 1, types.a),
        operand('b', transposeB ? [n, k] : [k, n], 2, types.b),
        ...(finish.bias ? [operand('bias', [n], 3)] : []),
        ...(finish.residual ? [operand('residual', [m, n], 4)] : []),
        ...(finish.gelu === 'point' ? [operand('point', [m, n], 5, types.point, 3)] : []),
      ];
      const activates = finish.gelu === 'activated';
      const attrs = {
        transposeA,
        transposeB,
        precision: 'bf16',
        outputShape: [m, n],
        ...(finish.gelu === '' ? {} : { gelu: approximate }),
        ...(activates ? { activatedShape: [m, n] } : {}),
      };
      const outputs = [types.out, ...(activates ? [types.activated] : [])].map((type) => ({
        shape: [m, n],
        dtype: type,
      }));
      const results = runKernel('MerakProduct', inputs, outputs, attrs);
      const expected = reference('MerakProduct', inputs, attrs);
      close(results[0]!, expected[0]!, types.out, 1e-5 * (k + 10), 'out');
      // Gelu of what was stored: its slope is at most 1.13.
      if (!activates) return;
      const [activated] = reference('MerakGelu', [{ name: 'x', shape: [m, n], data: results[0]! }], { approximate });
      close(results[1]!, activated!, types.activated, 2e-6, 'activated');
    },
  );
  fc.assert(property, { numRuns: 80 });
});

/** [batch, length, heads, depth] */
type Head = [number, number, number, number];

function attentionCase(
  [batch, length, heads, depth]: Head,
  causal: boolean,
  masked: boolean,
  type: Result['dtype'],
): void {
  const hidden = heads * depth;
  const mask: Operand = {
    name: 'mask',
    shape: [batch, length],
    data: Int32Array.from({ length: batch * length }, (_, i) => Number(i % 5 !== 3)),
  };
  const qkv = operand('qkv', [batch, length, 3 * hidden], 1, 'bfloat16', 2);
  const attrs = { causal, scale: 1 / Math.sqrt(depth), headShape: [batch, length, heads, depth] };
  const head = [batch, length, heads, depth];
  const label = JSON.stringify({ head, causal, masked });
  const inputs = [qkv, ...(masked ? [mask] : [])];
  const sums = { shape: [batch, heads, length], dtype: 'float32' as const };
  const [out, logsumexp] = runKernel('MerakPackedAttention', inputs, [{ shape: head, dtype: type }, sums], attrs);
  const [expected, expectedSums] = reference('MerakPackedAttention', inputs, attrs);
  // Weights in [0, 1] are rounded to eight bits; values are at most 2.
  close(out!, expected!, type, 2e-2, `out ${label}`);
  close(logsumexp!, expectedSums!, 'float32', 1e-4, `logsumexp ${label}`);

  const given = [
    operand('dy', [batch, length, hidden], 2, type),
    { name: 'out', shape: head, data: type === 'bfloat16' ? toBf16(expected!) : expected! },
    { name: 'logsumexp', shape: sums.shape, data: expectedSums! },
    ...inputs,
  ];
  const result = [{ shape: qkv.shape, dtype: type }];
  const [gradient] = runKernel('MerakPackedAttentionGrad', given, result, attrs);
  const [exact] = reference('MerakPackedAttentionGrad', given, attrs);
  // Sums over up to `length` rounded terms.
  close(gradient!, exact!, type, 2e-2 + 2e-3 * Math.sqrt(length), `gradient ${label}`);
}

it('packed attention on bfloat16: any size, causal or not, masked or not', () => {
  const head = fc.tuple(
    fc.integer({ min: 1, max: 2 }),
    fc.integer({ min: 1, max: 75 }),
    fc.integer({ min: 1, max: 3 }),
    fc.constantFrom(1, 8, 16, 24, 32, 40, 64),
  );
  fc.assert(fc.property(head, fc.boolean(), fc.boolean(), dtype, attentionCase), { numRuns: 30 });
});

it('packed attention on bfloat16, in several groups of queries', () => {
  attentionCase([1, 300, 1, 32], true, false, 'bfloat16');
  attentionCase([1, 290, 1, 8], false, true, 'float32');
});

it('attention that sees a number that is none gives none, and none elsewhere', () => {
  const [length, depth] = [40, 16];
  const rows = fromBf16(toBf16(noise(length * 3 * depth, 1)));
  rows[20 * 3 * depth] = Number.NaN; // a query
  const qkv: Operand = { name: 'qkv', shape: [1, length, 3 * depth], data: toBf16(rows) };
  qkv.data[20 * 3 * depth] = 0x7fc0;
  const outputs: Result[] = [
    { shape: [1, length, 1, depth], dtype: 'float32' },
    { shape: [1, 1, length], dtype: 'float32' },
  ];
  const attrs = { causal: true, scale: 0.25, headShape: [1, length, 1, depth] };
  const [out] = runKernel('MerakPackedAttention', [qkv], outputs, attrs);
  for (let row = 0; row < length; row++) {
    const isNumber = Number.isFinite(out![row * depth]!);
    expect(isNumber, `row ${row}`).toBe(row !== 20);
  }
});

it('gelu, its gradient and that of layer norm take bfloat16, and add a residual', () => {
  const shape = [7, 37];
  for (const approximate of ['tanh', 'none']) {
    for (const type of ['float32', 'bfloat16'] as const) {
      const [x, dy] = [operand('x', shape, 1, 'bfloat16', 3), operand('dy', shape, 2, 'bfloat16')];
      const out = [{ shape, dtype: type }];
      const attrs = { approximate };
      close(runKernel('MerakGelu', [x], out, attrs)[0]!, reference('MerakGelu', [x], attrs)[0]!, type, 2e-6, 'gelu');
      const [dx] = runKernel('MerakGeluGrad', [dy, x], out, attrs);
      close(dx!, reference('MerakGeluGrad', [dy, x], attrs)[0]!, type, 2e-6, 'geluGrad');
    }
  }
  fc.assert(
    fc.property(dtype, fc.boolean(), fc.integer({ min: 1, max: 70 }), (type, residual, width) => {
      const rows = [5, width];
      const inputs = [
        operand('dy', rows, 1, type),
        operand('x', rows, 2),
        operand('gamma', [width], 3),
        operand('mean', [5], 4, 'float32', 0.1),
        operand('rstd', [5], 5),
        ...(residual ? [operand('residual', rows, 6)] : []),
      ];
      const outputs = [rows, [width], [width]].map((one) => ({ shape: one, dtype: 'float32' as const }));
      const results = runKernel('MerakLayerNormGrad', inputs, outputs, {});
      const expected = reference('MerakLayerNormGrad', inputs, {});
      results.forEach((result, i) => {
        close(result, expected[i]!, 'float32', 1e-4, `layerNormGrad ${i}`);
      });
    }),
    { numRuns: 30 },
  );
});
