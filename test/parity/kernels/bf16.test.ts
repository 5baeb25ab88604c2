/** Kernels that round to bfloat16: products, packed attention, column sums and norms against float32 arithmetic on rounded operands. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { loadAddon, type NodeSpec } from '../../../src/runtime/native/addon.js';
import { runs } from '../cases.js';

type ProgramSpec = Omit<NodeSpec, 'inputs' | 'outputs'> & {
  readonly inputs: readonly { shape: readonly number[]; dtype: string }[];
  readonly outputs: readonly { shape: readonly number[]; dtype: string }[];
};
const run = (spec: ProgramSpec, inputs: readonly (Float32Array | Uint16Array)[], outputs?: Float32Array[]) =>
  loadAddon().runKernel(spec as NodeSpec, inputs as never, outputs === undefined ? {} : { outputs }) as unknown as (
    | Float32Array
    | Uint16Array
  )[];

/** Round to nearest, ties to even. */
function toBf16(x: Float32Array): Uint16Array {
  const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
  return Uint16Array.from(bits, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16);
}
const fromBf16 = (x: Uint16Array): Float32Array => new Float32Array(Uint32Array.from(x, (half) => half << 16).buffer);
const noise = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => Math.fround(Math.sin(12.9898 * i + seed) * 3));
const f32 = (...shape: number[]) => ({ shape, dtype: 'float32' });

it('products: any size, transposition and mixture of operand types, with a bias or adding to the output', () => {
  const size = fc.integer({ min: 1, max: 90 });
  const property = fc.property(
    fc.tuple(size, size, size),
    fc.boolean(),
    fc.boolean(),
    fc.constantFrom('float32', 'bfloat16'),
    fc.constantFrom('float32', 'bfloat16'),
    fc.constantFrom('plain', 'bias', 'accumulate'),
    fc.boolean(),
    ([m, n, k], transposeA, transposeB, aType, bType, form, weightStays) => {
      const [a, b, start] = [toBf16(noise(m * k, 1)), toBf16(noise(k * n, 2)), noise(m * n, 3)];
      const bias = noise(n, 4);
      const operand = (type: string, data: Uint16Array) => (type === 'float32' ? fromBf16(data) : data);
      const spec: ProgramSpec = {
        kernel: form === 'bias' ? '_FusedMatMul' : 'BatchMatMul',
        scope: '',
        inputs: [
          { shape: transposeA ? [k, m] : [m, k], dtype: aType },
          { shape: transposeB ? [n, k] : [k, n], dtype: bType },
          ...(form === 'bias' ? [f32(n)] : []),
        ],
        inputNames: ['a', 'b', ...(form === 'bias' ? ['bias'] : [])],
        outputs: [f32(m, n)],
        attrs: { transposeA, transposeB, precision: 'bf16', accumulate: form === 'accumulate', weightStays },
      };
      const inputs = [operand(aType, a), operand(bType, b), ...(form === 'bias' ? [bias] : [])];
      const [c] = run(spec, inputs, form === 'accumulate' ? [start] : undefined) as [Float32Array];
      const [left, right] = [fromBf16(a), fromBf16(b)];
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = form === 'bias' ? bias[j]! : form === 'accumulate' ? start[i * n + j]! : 0;
          for (let p = 0; p < k; p++) {
            sum += left[transposeA ? p * m + i : i * k + p]! * right[transposeB ? j * k + p : p * n + j]!;
          }
          expect(Math.abs(c[i * n + j]! - sum)).toBeLessThan(2e-6 * (k + 10) * 9);
        }
      }
    },
  );
  fc.assert(property, runs(60));
});

it('rounds float32 operands to nearest, ties to even, and keeps NaN', () => {
  const x = Float32Array.of(
    1 + 2 ** -8,
    1 + 3 * 2 ** -8,
    -(1 + 2 ** -7 + 2 ** -20),
    Number.NaN,
    3.4e38,
    1e-40,
    -0,
    2.5,
  );
  const spec: ProgramSpec = {
    kernel: 'BatchMatMul',
    scope: '',
    inputs: [f32(8, 1), f32(1, 1)],
    inputNames: ['a', 'b'],
    outputs: [f32(8, 1)],
    attrs: { transposeA: false, transposeB: false, precision: 'bf16' },
  };
  const [c] = run(spec, [x, Float32Array.of(1)]) as [Float32Array];
  expect(c[0]).toBe(1);
  expect(c[1]).toBe(1 + 2 ** -6);
  expect(c[2]).toBe(-(1 + 2 ** -7));
  expect(c[3]).toBeNaN();
  expect(c[7]).toBe(2.5);
});

it('column sums of any width, float32 or bfloat16, adding or not', () => {
  const property = fc.property(
    fc.integer({ min: 1, max: 300 }),
    fc.integer({ min: 1, max: 70 }),
    fc.boolean(),
    (rows, width, adds) => {
      const x = toBf16(noise(rows * width, 5));
      const start = noise(width, 6);
      for (const dtype of ['float32', 'bfloat16']) {
        const spec: ProgramSpec = {
          kernel: 'MerakColumnSum',
          scope: '',
          inputs: [{ shape: [rows, width], dtype }],
          inputNames: ['x'],
          outputs: [f32(width)],
          attrs: { accumulate: adds },
        };
        const [sums] = run(spec, [dtype === 'float32' ? fromBf16(x) : x], [start]) as [Float32Array];
        const values = fromBf16(x);
        for (let c = 0; c < width; c++) {
          let sum = adds ? start[c]! : 0;
          for (let r = 0; r < rows; r++) sum += values[r * width + c]!;
          expect(Math.abs(sums[c]! - sum)).toBeLessThan(1e-5 * rows + 1e-5);
        }
      }
    },
  );
  fc.assert(property, runs(40));
});

it('layer norm, gelu and packed attention give the rounding of their float32 results', () => {
  const [rows, width] = [5, 37];
  const pairs: [string, ProgramSpec, Float32Array[]][] = [
    [
      'MerakLayerNorm',
      {
        kernel: 'MerakLayerNorm',
        scope: '',
        inputs: [f32(rows, width), f32(width), f32(width)],
        inputNames: ['x', 'gamma', 'beta'],
        outputs: [f32(rows, width), f32(rows), f32(rows)],
        attrs: { epsilon: 1e-5 },
      },
      [noise(rows * width, 1), noise(width, 2), noise(width, 3)],
    ],
    ...(['tanh', 'none'] as const).flatMap((approximate): [string, ProgramSpec, Float32Array[]][] => [
      [
        `MerakGelu ${approximate}`,
        {
          kernel: 'MerakGelu',
          scope: '',
          inputs: [f32(99)],
          inputNames: ['x'],
          outputs: [f32(99)],
          attrs: { approximate },
        },
        [noise(99, 1)],
      ],
      [
        `MerakGeluGrad ${approximate}`,
        {
          kernel: 'MerakGeluGrad',
          scope: '',
          inputs: [f32(99), f32(99)],
          inputNames: ['dy', 'x'],
          outputs: [f32(99)],
          attrs: { approximate },
        },
        [noise(99, 1), noise(99, 2)],
      ],
    ]),
    [
      'MerakPackedAttention',
      {
        kernel: 'MerakPackedAttention',
        scope: '',
        inputs: [f32(2, 19, 3 * 24)],
        inputNames: ['qkv'],
        outputs: [f32(2, 19, 3, 8), f32(2, 3, 19)],
        attrs: { causal: true, scale: 0.3, headShape: [2, 19, 3, 8] },
      },
      [noise(2 * 19 * 72, 4)],
    ],
  ];
  for (const [name, spec, inputs] of pairs) {
    const [exact] = run(spec, inputs) as [Float32Array];
    const [first, ...others] = spec.outputs;
    const [rounded] = run({ ...spec, outputs: [{ ...first!, dtype: 'bfloat16' }, ...others] }, inputs) as [Uint16Array];
    expect(Array.from(rounded), name).toEqual(Array.from(toBf16(exact)));
  }
});

it('packed attention and its gradient are those of q, k and v apart', () => {
  const [batch, length, heads, depth] = [2, 21, 3, 16];
  const hidden = heads * depth;
  const qkv = noise(batch * length * 3 * hidden, 1);
  const dy = noise(batch * length * hidden, 2);
  const third = (which: number) =>
    Float32Array.from(
      { length: batch * length * hidden },
      (_, i) => qkv[Math.floor(i / hidden) * 3 * hidden + which * hidden + (i % hidden)]!,
    );
  const [q, k, v] = [third(0), third(1), third(2)];
  const head = [batch, length, heads, depth];
  const sums = [batch, heads, length];
  for (const causal of [true, false]) {
    const attrs = { causal, scale: 0.25, headShape: head };
    const apart = run(
      {
        kernel: 'MerakAttention',
        scope: '',
        inputs: [f32(...head), f32(...head), f32(...head)],
        inputNames: ['q', 'k', 'v'],
        outputs: [f32(...head), f32(...sums)],
        attrs,
      },
      [q, k, v],
    ) as Float32Array[];
    const packed = run(
      {
        kernel: 'MerakPackedAttention',
        scope: '',
        inputs: [f32(batch, length, 3 * hidden)],
        inputNames: ['qkv'],
        outputs: [f32(...head), f32(...sums)],
        attrs,
      },
      [qkv],
    ) as Float32Array[];
    expect(packed).toEqual(apart);
    const [out, logsumexp] = apart as [Float32Array, Float32Array];
    const gradients = run(
      {
        kernel: 'MerakAttentionGrad',
        scope: '',
        inputs: [f32(...head), f32(...head), f32(...head), f32(...head), f32(...head), f32(...sums)],
        inputNames: ['dy', 'q', 'k', 'v', 'out', 'logsumexp'],
        outputs: [f32(...head), f32(...head), f32(...head)],
        attrs,
      },
      [dy, q, k, v, out, logsumexp],
    ) as Float32Array[];
    const [whole] = run(
      {
        kernel: 'MerakPackedAttentionGrad',
        scope: '',
        inputs: [f32(...head), f32(...head), f32(...sums), f32(batch, length, 3 * hidden)],
        inputNames: ['dy', 'out', 'logsumexp', 'qkv'],
        outputs: [f32(batch, length, 3 * hidden)],
        attrs,
      },
      [dy, out, logsumexp, qkv],
    ) as [Float32Array];
    gradients.forEach((gradient, which) => {
      gradient.forEach((value, i) => {
        expect(whole[Math.floor(i / hidden) * 3 * hidden + which * hidden + (i % hidden)]).toBe(value);
      });
    });
  }
});
