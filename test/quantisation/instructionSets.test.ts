/** Exact sums on processors without dot products of int8: oneDNN and Merak's own loops are told to use less than there is. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ADDON = fileURLToPath(new URL('../../build/merak.node', import.meta.url));

/** Prints 'exact' when a product at the extremes is exact. */
const PROGRAM = `
const addon = require(${JSON.stringify(process.env.MERAK_ADDON ?? ADDON)});
const [rows, inner, columns] = [37, 259, 41];
const extreme = (i) => [127, -127, 126, -1, 0][(i * 7) % 5];
const a = Int8Array.from({ length: rows * inner }, (_, i) => extreme(i));
const b = Int8Array.from({ length: inner * columns }, (_, i) => extreme(i + 3));
const scales = new Float32Array(columns).fill(1);
const spec = {
  kernel: 'MerakQuantisedMatMul', inputNames: ['a', 'b', 'scales'], attrs: {}, scope: '',
  inputs: [{ shape: [rows, inner], dtype: 'int8' }, { shape: [inner, columns], dtype: 'int8' }, { shape: [columns], dtype: 'float32' }],
  outputs: [{ shape: [rows, columns], dtype: 'float32' }],
};
const [y] = addon.runKernel(spec, [a, b, scales]);
for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
  let sum = 0;
  for (let k = 0; k < inner; k++) sum += a[i * inner + k] * b[k * columns + j];
  if (y[i * columns + j] !== sum) throw new Error(i + ',' + j + ': ' + y[i * columns + j] + ' is not ' + sum);
}
console.log('exact');
`;

it.each([
  {},
  { MERAK_ISA: 'avx2' },
  { MERAK_ISA: 'generic' },
  { ONEDNN_MAX_CPU_ISA: 'AVX2', DNNL_MAX_CPU_ISA: 'AVX2' },
  { ONEDNN_MAX_CPU_ISA: 'AVX512_CORE', DNNL_MAX_CPU_ISA: 'AVX512_CORE' },
  { ONEDNN_MAX_CPU_ISA: 'AVX512_CORE_VNNI', DNNL_MAX_CPU_ISA: 'AVX512_CORE_VNNI' },
])('is exact with %o', (limits) => {
  const env = { ...process.env, ...limits };
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', PROGRAM], { env, encoding: 'utf8', timeout: 60_000 });
  expect(stderr).toBe('');
  expect(stdout.trim()).toBe('exact');
});
