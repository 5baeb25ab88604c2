/** Sequence parallelism: the layout Megatron-LM names so is found, and computes what one process does. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { localise } from '../../src/tensorparallel/localise.js';
import { chooseLayouts } from '../../src/tensorparallel/search.js';
import { gptGraph } from './graphs.js';
import { countKernels, expectParity, ids } from './parity.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const SMALL = { vocabularySize: 251, contextLength: 16, numLayers: 3, numHeads: 4, hiddenSize: 32, dropout: 0.1 };

describe('sequence parallelism', () => {
  it('puts a reduce-scatter and an all-gather in place of every all-reduce of a block', () => {
    const graph = gptGraph(SMALL, 2, 16);
    const assignment = chooseLayouts(graph, 2, { prefer: 'shard', sequenceParallel: 'on' });
    const local = localise(graph, assignment, 2, 0);
    expect(countKernels(local, 'MerakAllReduce')).toBe(0);
    expect(countKernels(local, 'MerakReduceScatter')).toBe(2 * SMALL.numLayers + 1);
    expect(countKernels(local, 'MerakAllGather')).toBe(2 * SMALL.numLayers + 1);
    for (const node of local.nodes.filter(({ kernel }) => kernel === 'MerakDropout' || kernel === 'MerakLayerNorm')) {
      // Half the sequence of every sample.
      expect(local.values[node.outputs[0]!]!.shape.slice(0, 2)).toEqual([2, 8]);
    }
  });

  it('is left out when off, and by default', () => {
    const graph = gptGraph(SMALL, 2, 16);
    const plain = chooseLayouts(graph, 2, { prefer: 'shard' });
    expect(chooseLayouts(graph, 2, { prefer: 'shard', sequenceParallel: 'off' })).toEqual(plain);
    expect(countKernels(localise(graph, plain, 2, 0), 'MerakReduceScatter')).toBe(0);
  });

  it('is chosen by itself only where it costs less', () => {
    const graph = gptGraph({ ...SMALL, contextLength: 128, hiddenSize: 256 }, 8, 128);
    const [auto, off] = (['auto', 'off'] as const).map((sequenceParallel) =>
      chooseLayouts(graph, 2, { sequenceParallel }),
    );
    expect(auto!.seconds).toBeLessThanOrEqual(off!.seconds);
  });

  it('cannot be where the sequence does not divide', () => {
    const graph = gptGraph({ ...SMALL, contextLength: 15 }, 2, 15);
    const assignment = chooseLayouts(graph, 2, { prefer: 'shard', sequenceParallel: 'on' });
    const local = localise(graph, assignment, 2, 0);
    for (const node of local.nodes.filter(({ kernel }) => kernel === 'MerakLayerNorm')) {
      expect(local.values[node.outputs[0]!]!.shape[1]).toBe(15);
    }
  });

  it('has the loss and the gradients of one process', () => {
    fc.assert(
      fc.property(
        fc.record({
          degree: fc.constantFrom(2, 4),
          vocabularySize: fc.integer({ min: 9, max: 23 }),
          headSize: fc.integer({ min: 1, max: 3 }),
          batch: fc.integer({ min: 1, max: 3 }),
          length: fc.constantFrom(4, 8),
          dropout: fc.constantFrom(0, 0.2),
          tiedEmbeddings: fc.boolean(),
        }),
        ({ degree, vocabularySize, headSize, batch, length, dropout, tiedEmbeddings }) => {
          const shape = { numLayers: 1, numHeads: 4, hiddenSize: 4 * headSize, contextLength: 8 };
          const graph = gptGraph({ vocabularySize, dropout, tiedEmbeddings, ...shape }, batch, length);
          const assignment = chooseLayouts(graph, degree, { prefer: 'shard', sequenceParallel: 'on' });
          const feed = {
            tokens: tf.tensor(ids(batch * length, vocabularySize), [batch, length], 'int32'),
            targets: tf.tensor(ids(batch * length, vocabularySize, 3), [batch, length], 'int32'),
          };
          expectParity(graph, assignment, feed, undefined, 2e-4);
        },
      ),
      { numRuns: 10, seed: 20261123 },
    );
  });
});
