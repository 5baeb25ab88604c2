/** Gradients are added up where they are made, wherever that changes nothing. */
import { expect, it } from 'vitest';
import type { Address, Step } from '../../src/plan/buildProgram.js';
import { joinAccumulations } from '../../src/plan/joinAccumulations.js';

const step = (kernel: string, inputs: number[], outputs: number[], target?: Address): Step => ({
  node: { kernel, inputNames: inputs.map(String), attrs: {}, scope: '' },
  inputs,
  outputs,
  ...(target === undefined ? {} : { target }),
});
const gradient: Address = { space: 'gradients', offset: 64 };
const accumulate = (value: number, target = gradient) => step('MerakAccumulate', [value], [], target);
const inScratch = () => undefined;
const kernels = (steps: readonly Step[]) => steps.map(({ node }) => node.kernel);

it('a product joins the accumulation of it, through views', () => {
  const product = step('BatchMatMul', [0, 1], [2]);
  const steps = [product, step('Neg', [0], [4]), step('Reshape', [2], [3]), accumulate(3)];
  const joined = joinAccumulations(steps, inScratch);
  expect(kernels(joined)).toEqual(['BatchMatMul', 'Neg']);
  expect(joined[0]).toMatchObject({
    node: { attrs: { accumulate: true } },
    inputs: [0, 1],
    outputs: [2],
    target: gradient,
  });
  expect(product.node.attrs).toEqual({});
});

it.each<[string, readonly Step[], ((value: number) => Address | undefined)?]>([
  ['another reads it', [step('BatchMatMul', [0, 1], [2]), accumulate(2), step('Neg', [2], [3])]],
  [
    'another reads a view of it',
    [step('BatchMatMul', [0, 1], [2]), step('Reshape', [2], [3]), step('Neg', [2], [4]), accumulate(3)],
  ],
  ['two gradients take it', [step('BatchMatMul', [0, 1], [2]), accumulate(2), accumulate(2)]],
  ['its kernel cannot add', [step('Softmax', [0], [2]), accumulate(2)]],
  ['another program made it', [accumulate(2)]],
  ['it is a metric', [step('BatchMatMul', [0, 1], [2]), accumulate(2, { space: 'metrics', offset: 0 })]],
  ['it is kept', [step('BatchMatMul', [0, 1], [2]), accumulate(2)], () => ({ space: 'sentGradients', offset: 0 })],
])('not where %s', (_, steps, addressOf = inScratch) => {
  expect(joinAccumulations(steps, addressOf)).toEqual(steps);
});
