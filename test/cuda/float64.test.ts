/**
 * Kernels beside references in double: on the stand-in card, and on the real one under `npm run gpu`.
 */
import { afterAll, it } from 'vitest';
import { loadAddon } from '../../src/runtime/native/addon.js';
import { nodeOf, numbersOf, relativeError } from './card.js';
import { attentionCases } from './float64/attention.js';
import { BOUNDS, type Case } from './float64/case.js';
import { expectWithin, type Found } from './float64/errors.js';
import { imageCases } from './float64/images.js';
import { productCases } from './float64/products.js';
import { rowCases } from './float64/rows.js';

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
  const result = { kernel, precision, shapes, error: errorOf(one) };
  found.push(result);
  expectWithin(result);
});

afterAll(() => {
  const worst = new Map<string, Found>();
  for (const one of found) {
    const key = `${one.kernel} ${one.precision}`;
    if (one.error >= (worst.get(key)?.error ?? 0)) worst.set(key, one);
  }
  const line = ({ kernel, precision, error }: Found) =>
    `${kernel.padEnd(30)}${precision.padEnd(6)}${error.toExponential(1)} of ${BOUNDS[precision]}`;
  console.log(['relative error of the worst case', ...[...worst.values()].map(line)].join('\n'));
});
