/** How fast the engine's memory-bound kernels move data, beside a plain copy. Run: npx tsx bench/kernels.ts [threads] */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

type DType = 'float32' | 'int32' | 'bool';
type Type = { shape: number[]; dtype: DType };
type HostArray = Float32Array | Int32Array | Uint8Array;
interface Addon {
  runKernel(spec: object, inputs: HostArray[], options: { repeat: number }): (HostArray | number)[];
  setThreads(numThreads: number): void;
  info(): { isa: string };
}

const path = process.env.MERAK_ADDON ?? fileURLToPath(new URL('../build/merak.node', import.meta.url));
const addon = createRequire(import.meta.url)(path) as Addon;

const BYTES: Record<DType, number> = { float32: 4, int32: 4, bool: 1 };
const sizeOf = ({ shape }: Type): number => shape.reduce((a, b) => a * b, 1);
const f32 = (...shape: number[]): Type => ({ shape, dtype: 'float32' });
const bool = (...shape: number[]): Type => ({ shape, dtype: 'bool' });

interface Case {
  readonly label: string;
  readonly kernel: string;
  readonly inputs: Readonly<Record<string, Type>>;
  readonly output: Type;
  readonly attrs?: object;
}

const N = 1 << 20;
const ROWS = 2048;
const WIDTH = 512;
const unary = (kernel: string, attrs = {}): Case => ({
  label: kernel,
  kernel,
  inputs: { x: f32(N) },
  output: f32(N),
  attrs,
});
const binary = (label: string, kernel: string, a: Type, b: Type, output = a): Case => ({
  label,
  kernel,
  inputs: { a, b },
  output,
});

const CASES: readonly Case[] = [
  unary('Identity'),
  ...['Neg', 'Relu', 'Square', 'Sqrt', 'Rsqrt', 'Exp', 'Log', 'Tanh', 'Sigmoid', 'Erf', 'Softplus', 'Elu', 'Sin'].map(
    (kernel) => unary(kernel),
  ),
  unary('Step', { alpha: 0 }),
  binary('Add', 'Add', f32(N), f32(N)),
  binary('Multiply', 'Multiply', f32(N), f32(N)),
  binary('RealDiv', 'RealDiv', f32(N), f32(N)),
  binary('Add, scalar', 'Add', f32(N), f32()),
  binary('Add, row', 'Add', f32(ROWS, WIDTH), f32(WIDTH)),
  binary('Add, short row', 'Add', f32(N / 8, 8), f32(8)),
  binary('Multiply, column', 'Multiply', f32(ROWS, WIDTH), f32(ROWS, 1)),
  binary('Greater', 'Greater', f32(N), f32(N), bool(N)),
  { label: 'Cast bool to float', kernel: 'Cast', inputs: { x: bool(N) }, output: f32(N), attrs: { dtype: 'float32' } },
  { label: 'Select', kernel: 'Select', inputs: { condition: bool(N), t: f32(N), e: f32(N) }, output: f32(N) },
  { label: 'Sum, all', kernel: 'Sum', inputs: { x: f32(N) }, output: f32(), attrs: { axis: [0] } },
  { label: 'Sum, rows', kernel: 'Sum', inputs: { x: f32(ROWS, WIDTH) }, output: f32(ROWS), attrs: { axis: [1] } },
  { label: 'Sum, columns', kernel: 'Sum', inputs: { x: f32(ROWS, WIDTH) }, output: f32(WIDTH), attrs: { axis: [0] } },
  { label: 'Sum, short rows', kernel: 'Sum', inputs: { x: f32(N / 8, 8) }, output: f32(N / 8), attrs: { axis: [1] } },
  { label: 'Sum, few columns', kernel: 'Sum', inputs: { x: f32(N / 8, 8) }, output: f32(8), attrs: { axis: [0] } },
  {
    label: 'Max, rows',
    kernel: 'Max',
    inputs: { x: f32(ROWS, WIDTH) },
    output: f32(ROWS),
    attrs: { reductionIndices: [1] },
  },
  {
    label: 'ArgMax, rows',
    kernel: 'ArgMax',
    inputs: { x: f32(ROWS, WIDTH) },
    output: { shape: [ROWS], dtype: 'int32' },
    attrs: { axis: 1 },
  },
  {
    label: 'Softmax',
    kernel: 'Softmax',
    inputs: { logits: f32(ROWS, WIDTH) },
    output: f32(ROWS, WIDTH),
    attrs: { dim: -1 },
  },
  {
    label: 'Transpose, matrix',
    kernel: 'Transpose',
    inputs: { x: f32(ROWS, WIDTH) },
    output: f32(WIDTH, ROWS),
    attrs: { perm: [1, 0] },
  },
  {
    label: 'Transpose, heads',
    kernel: 'Transpose',
    inputs: { x: f32(8, 256, 8, 64) },
    output: f32(8, 8, 256, 64),
    attrs: { perm: [0, 2, 1, 3] },
  },
  {
    label: 'Slice, columns',
    kernel: 'Slice',
    inputs: { x: f32(ROWS, WIDTH) },
    output: f32(ROWS, WIDTH / 2),
    attrs: { begin: [0, 128], size: [ROWS, WIDTH / 2] },
  },
  {
    label: 'FusedBatchNorm',
    kernel: 'FusedBatchNorm',
    inputs: { x: f32(N / 16, 16), mean: f32(16), variance: f32(16), scale: f32(16), offset: f32(16) },
    output: f32(N / 16, 16),
    attrs: { varianceEpsilon: 0.001 },
  },
  {
    label: 'MaxPool 2x2',
    kernel: 'MaxPool',
    inputs: { x: f32(16, 64, 64, 16) },
    output: f32(16, 32, 32, 16),
    attrs: { filterSize: [2, 2], strides: [2, 2], pad: 'valid' },
  },
];

function gigabytesPerSecond({ kernel, inputs, output, attrs = {} }: Case): number {
  const types = Object.values(inputs);
  const spec = { kernel, inputs: types, inputNames: Object.keys(inputs), outputs: [output], attrs };
  const data = types.map(
    (type): HostArray =>
      type.dtype === 'bool'
        ? Uint8Array.from({ length: sizeOf(type) }, (_, i) => i % 2)
        : Float32Array.from({ length: sizeOf(type) }, (_, i) => 0.5 + ((i * 7919) % 1000) / 500),
  );
  const seconds = addon.runKernel(spec, data, { repeat: 30 }).at(-1) as number;
  const bytes = [...types, output].reduce((sum, type) => sum + sizeOf(type) * BYTES[type.dtype], 0);
  return bytes / seconds / 1e9;
}

const numThreads = Number(process.argv[2] ?? 1);
addon.setThreads(numThreads);
console.log(`instruction set ${addon.info().isa}, ${numThreads} thread(s); GB/s read and written, best of 30`);
for (const item of CASES) console.log(`${item.label.padEnd(22)} ${gigabytesPerSecond(item).toFixed(1).padStart(7)}`);
