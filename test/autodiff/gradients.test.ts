/** Every kernel's gradient rule against finite differences on the CPU backend. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { gradientRule } from '../../src/autodiff/gradients/registry.js';
import { ensureKernels } from '../../src/kernels/register.js';
import { elementwiseCases } from './cases/elementwise.js';
import { movementCases } from './cases/movement.js';
import { normalisationCases } from './cases/normalisation.js';
import { productCases } from './cases/product.js';
import { reductionCases } from './cases/reduction.js';
import { spatialCases } from './cases/spatial.js';
import { type Case, gradientError } from './finiteDifferences.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const cases: Case[] = [
  ...elementwiseCases,
  ...reductionCases,
  ...productCases,
  ...movementCases,
  ...spatialCases,
  ...normalisationCases,
];

describe('gradient rules', () => {
  for (const test of cases) {
    it(test.title ?? test.kernel, () => {
      const { error, detail } = gradientError(test);
      expect(error, detail).toBeLessThan(1e-2);
    });
  }

  it('covers every differentiable kernel of tfjs', () => {
    const tested = new Set(cases.map(({ kernel }) => kernel));
    // No float output, no CPU kernel of that name (the op composes others), or complex.
    const exempt = [
      'ArgMax',
      'ArgMin',
      'GreaterEqual',
      'IsFinite',
      'IsInf',
      'IsNan',
      'OneHot',
      'BroadcastTo',
      'LogSoftmax',
      'ComplexAbs',
    ];
    const registered =
      Object.keys(tf).length > 0 ? KERNEL_NAMES.filter((kernel) => gradientRule(kernel) !== undefined) : [];
    expect(
      registered.filter((kernel) => !tested.has(kernel) && !exempt.includes(kernel) && !kernel.startsWith('Merak')),
    ).toEqual([]);
  });
});

const KERNEL_NAMES = Object.entries(tf)
  .filter(([name, value]) => typeof value === 'string' && /^[A-Z]/.test(name))
  .map(([, value]) => String(value));
