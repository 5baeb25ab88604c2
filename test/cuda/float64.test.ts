/**
 * Kernels beside references in double: on the stand-in card, and on the real one under `npm run gpu`. A file that MERAK_KERNEL_ERRORS names
 * gets a JSON line for each.
 */
import { appendFileSync } from 'node:fs';
import { afterAll, expect, it } from 'vitest';
import { loadAddon } from '../../src/runtime/native/addon.js';
import { nodeOf, numbersOf, relativeError } from './card.js';
import { attentionCases } from './float64/attention.js';
import { BOUNDS, type Case, type Precision } from './float64/case.js';
import { imageCases } from './float64/images.js';
import { productCases } from './float64/products.js';
import { rowCases } from './float64/rows.js';

interface Found {
  readonly kernel: string;
  readonly precision: Precision;
  readonly shapes: string;
  readonly error: number;
  readonly limit: number;
}

const found: Found[] = [];

/** The worst of a case's outputs. */
function errorOf({ kernel, inputs, outputs, attrs, reference }: Case): number {
  const arrays = Object.values(inputs).map(({ data }) => data);
  const got = loadAddon().runCudaKernel(nodeOf(kernel, { ...inputs }, outputs, attrs), arrays);
  return Math.max(...outputs.map(({ dtype }, k) => relativeError(numbersOf(got[k]!, dtype), [...reference[k]!.data])));
}

const cases = [...productCases(), ...attentionCases(), ...rowCases(), ...imageCases()].map((one) => ({
  ...one,
  shapes: Object.values(one.inputs)
    .map(({ shape }) => shape.join('x'))
    .join(' '),
}));

it.each(cases)('$kernel in $precision of $shapes', (one) => {
  const { kernel, precision, shapes } = one;
  const error = errorOf(one);
  const limit = BOUNDS[precision];
  const result = { kernel, precision, shapes, error, limit };
  found.push(result);
  const file = process.env.MERAK_KERNEL_ERRORS;
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(result)}\n`);
  expect(error).toBeLessThan(limit);
});

afterAll(() => {
  const worst = new Map<string, Found>();
  for (const one of found) {
    const key = `${one.kernel} ${one.precision}`;
    if (one.error >= (worst.get(key)?.error ?? 0)) worst.set(key, one);
  }
  const line = ({ kernel, precision, error, limit }: Found) =>
    `${kernel.padEnd(30)}${precision.padEnd(6)}${error.toExponential(1)} of ${limit}`;
  console.log(['relative error of the worst case', ...[...worst.values()].map(line)].join('\n'));
});
