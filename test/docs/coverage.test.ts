/** docs/coverage.md says of every tfjs kernel how Merak runs it. After a change: `npx vitest run test/docs -u`. */
import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { gradientRule, overriddenKernels } from '../../src/autodiff/gradients/registry.js';
import { registerGradients } from '../../src/kernels/register.js';
import { loadAddon } from '../../src/runtime/native/addon.js';
import { DYNAMIC_RULES } from '../../src/trace/rules/dynamic.js';
import { RULES } from '../../src/trace/rules/table.js';

/** The kernel names that tfjs-core exports. */
const KERNELS = Object.entries(tf)
  .flatMap(([, value]) => (typeof value === 'string' && /^_?[A-Z]\w*$/.test(value) ? [value] : []))
  .sort((a, b) => (a < b ? -1 : 1));

/** Not Merak's business, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  Complex: 'complex numbers',
  ComplexAbs: 'complex numbers',
  FFT: 'complex numbers',
  IFFT: 'complex numbers',
  Imag: 'complex numbers',
  Real: 'complex numbers',
  Draw: 'pixels',
  FromPixels: 'pixels',
  Pool: 'a name only: no backend has such a kernel, tf.pool calls MaxPool and AvgPool',
  RaggedGather: 'ragged tensors',
  RaggedRange: 'ragged tensors',
  RaggedTensorToTensor: 'ragged tensors',
  SparseFillEmptyRows: 'sparse tensors',
  SparseReshape: 'sparse tensors',
  SparseSegmentMean: 'sparse tensors',
  SparseSegmentSum: 'sparse tensors',
  StaticRegexReplace: 'strings',
  StringNGrams: 'strings',
  StringSplit: 'strings',
  StringToHashBucketFast: 'strings',
};

/** Kernels that a pass turns into others before the engine sees them. */
const LOWERED: Readonly<Record<string, string>> = {
  FusedConv2D: 'as Conv2D, Add and the activation (src/graph/passes/splitFused.ts)',
  FusedDepthwiseConv2D: 'as DepthwiseConv2dNative, Add and the activation (src/graph/passes/splitFused.ts)',
  Multinomial: 'in merak.jit, as SearchSorted of numbers drawn anew (src/trace/multinomial.ts)',
};

function status(kernel: string, native: ReadonlySet<string>): string {
  const reason = LEFT_OUT[kernel];
  if (reason !== undefined) return `left out: ${reason}`;
  const lowered = LOWERED[kernel];
  if (lowered !== undefined) return lowered;
  if (!native.has(kernel)) return 'MISSING';
  if (DYNAMIC_RULES[kernel] !== undefined)
    return 'native, in merak.jit; its results are cut to the size that the data gives';
  return RULES.has(kernel) ? 'native' : 'native, but cannot be traced';
}

function gradient(kernel: string): string {
  if (LEFT_OUT[kernel] !== undefined) return '';
  if (overriddenKernels.includes(kernel)) return "Merak's";
  return gradientRule(kernel) === undefined ? '' : "tfjs's";
}

function table(): string {
  registerGradients();
  const native = new Set(loadAddon().kernelNames());
  const statuses = KERNELS.map((kernel) => ({ kernel, text: status(kernel, native) }));
  const numLeftOut = Object.keys(LEFT_OUT).length;
  return [
    '# Kernels of tfjs and how Merak runs them',
    '',
    'Made by `npx vitest run test/docs -u`; the test fails when this page is out of date.',
    '',
    `tfjs-core names ${KERNELS.length} kernels. ${numLeftOut} are about strings, sparse or ragged tensors, complex numbers or`,
    'pixels and are left out: a jitted function that uses one runs on tfjs as a whole, with a warning. The other',
    `${KERNELS.length - numLeftOut} run on the native CPU engine. A dtype the engine has no version for (a dilation of int32, say) runs on`,
    "tfjs's CPU backend between native parts, with a warning; `fallbackKernels` of the jitted function, and of the plan",
    'report (`merak plan --explain`), names what did. Convolutions and average pools of int32 need none: tfjs itself takes',
    'float32 only there (conv3d alone takes int32, and falls back), max pools run natively in every dtype.',
    '',
    "Every kernel is compared with tfjs's CPU backend on generated cases (test/parity, test/api/jit), awkward values and empty",
    'tensors included. `MERAK_CASES=1000 npx vitest run test/parity test/api/jit --testTimeout 1200000` raises every property to',
    'so many cases (thousands per family), every run says its seed, `MERAK_SEED` draws others, a failure prints its smallest case. The same number',
    'raises the malformed plans and nodes of the fuzz tests (test/runtime/native/malformedPlans.test.ts, native/test).',
    '',
    'The gradient column says whose rule is used while Merak differentiates and inside a jitted function: ours where',
    "tfjs's is wrong, missing or wasteful ([bugs.md](bugs.md)). Ops that tfjs composes of others (layer normalisation,",
    'losses, LSTM cells, ...) need no line here.',
    '',
    '| kernel | runs | gradient |',
    '|---|---|---|',
    ...statuses.map(({ kernel, text }) => `| ${kernel} | ${text} | ${gradient(kernel)} |`),
    '',
    "Beside them the engine has Merak's own kernels ([kernels.md](kernels.md)).",
    '',
  ].join('\n');
}

test('docs/coverage.md is what the code does', async () => {
  const text = table();
  expect(text).not.toMatch(/MISSING|cannot be traced/);
  await expect(text).toMatchFileSnapshot('../../docs/coverage.md');
});
