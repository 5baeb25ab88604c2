/** Shape rules against tfjs's CPU kernels: every kernel call of generated ops and of their gradients, family by family. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureKernels } from '../../src/kernels/register.js';
import { DYNAMIC_SHAPE_KERNELS, RULES, UNSUPPORTED_KERNELS } from '../../src/trace/rules/table.js';
import { elementwiseRules } from './rules/elementwise.js';
import { fusedRules } from './rules/fused.js';
import { check, covered } from './rules/harness.js';
import { movementRules } from './rules/movement.js';
import { reduceRules } from './rules/reduce.js';
import { windowRules } from './rules/windows.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

describe('shape rules', () => {
  elementwiseRules();
  reduceRules();
  windowRules();
  movementRules();
  fusedRules();

  it('agree with tfjs for shapes as data', () => {
    check(() => {
      const inputs = { s0: tf.tensor1d([4, 1, 3], 'int32'), s1: tf.tensor1d([5, 1], 'int32') };
      tf.engine().runKernel('BroadcastArgs', inputs, {});
    });
  });

  it('exist for every kernel of tfjs-core, and are all tested here', () => {
    const names = Object.values(tf).filter((value) => typeof value === 'string');
    const kernels = tf.getKernelsForBackend('cpu').map(({ kernelName }) => kernelName);
    for (const kernel of kernels) {
      const known = RULES.has(kernel) || DYNAMIC_SHAPE_KERNELS.has(kernel) || UNSUPPORTED_KERNELS.has(kernel);
      expect([kernel, known]).toEqual([kernel, true]);
    }
    expect(names).toContain('BatchMatMul');
    // Collectives have no CPU kernel; tfjs-core composes the other ops from different kernels.
    const exempt = ['MerakAllReduce', 'MerakFanOut', 'MerakAllGather', 'MerakVocabParallelCrossEntropy'].concat([
      'LogicalXor',
      'LogSoftmax',
      'BroadcastTo',
      'MatrixBandPart',
      'LowerBound',
      'UpperBound',
    ]);
    const unreached = [...RULES.keys()].filter((kernel) => !covered.has(kernel) && !exempt.includes(kernel));
    expect(unreached).toEqual([]);
  });
});
