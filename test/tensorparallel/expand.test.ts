/** The vocabulary-parallel cross-entropy: its expansion equals the undivided loss, padding and ignored labels included. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { checkGraph } from '../../src/graph/check.js';
import { expandVocabParallel } from '../../src/tensorparallel/expand.js';
import { localise } from '../../src/tensorparallel/localise.js';
import { chooseLayouts } from '../../src/tensorparallel/search.js';
import { trace, weight } from './graphs.js';
import { expectParity, ids, numbers } from './parity.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

function head(vocabulary: number) {
  return trace((r, b) => {
    const logits = tf.matMul(r.input('x', [b, 16], 'float32'), weight(r, 'w', [vocabulary, 16]), false, true);
    const labels = r.input('labels', [b], 'int32');
    const [loss] = tf
      .engine()
      .runKernel<tf.Tensor[]>(
        'MerakSoftmaxCrossEntropy',
        { logits, labels },
        { vocabOffset: 0, vocabLimit: vocabulary },
      );
    return { loss: tf.mean(loss!), rows: loss! };
  }, 3);
}

describe('vocabulary-parallel cross-entropy', () => {
  it('equals the undivided one, even when every logit is far below the zeros of the padding', () => {
    fc.assert(
      fc.property(fc.integer({ min: 5, max: 19 }), fc.constantFrom(2, 4), fc.boolean(), (vocabulary, degree, low) => {
        const graph = head(vocabulary);
        const assignment = chooseLayouts(graph, degree, { prefer: 'shard' });
        const feed = {
          x: tf.tensor(
            numbers(48, 1, vocabulary).map((x) => (low ? Math.abs(x) + 1 : x)),
            [3, 16],
          ),
          labels: tf.tensor(
            ids(3, vocabulary).map((id, i) => (i === 2 ? -1 : id)),
            [3],
            'int32',
          ),
        };
        const weights = numbers(vocabulary * 16, 1, 9).map((x) => (low ? -Math.abs(x) - 20 : x));
        expectParity(graph, assignment, feed, [weights], 1e-4);
      }),
      { numRuns: 12, seed: 5 },
    );
  });

  it('leaves only kernels a device has, the same on every rank, and other graphs alone', () => {
    const graph = head(7);
    const assignment = chooseLayouts(graph, 2, { prefer: 'shard' });
    const [first, second] = [0, 1].map((index) => expandVocabParallel(localise(graph, assignment, 2, index)));
    expect(() => checkGraph(first!)).not.toThrow();
    expect(first!.nodes.map(({ kernel, inputs, outputs }) => ({ kernel, inputs, outputs }))).toEqual(
      second!.nodes.map(({ kernel, inputs, outputs }) => ({ kernel, inputs, outputs })),
    );
    const kernels = first!.nodes.map(({ kernel }) => kernel);
    expect(kernels).not.toContain('MerakVocabParallelCrossEntropy');
    expect(kernels.filter((kernel) => kernel === 'MerakAllReduce')).toHaveLength(3);
    expect(expandVocabParallel(graph)).toBe(graph);
  });
});
