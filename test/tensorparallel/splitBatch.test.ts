/** Sub-batches: the split, reordered graph computes what the whole one does, on any degree, at any level. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { differentiate } from '../../src/autodiff/differentiate.js';
import type { Graph } from '../../src/graph/graph.js';
import { expandDerivative } from '../../src/tensorparallel/expand.js';
import { localise } from '../../src/tensorparallel/localise.js';
import type { OverlapLevel } from '../../src/tensorparallel/overlap.js';
import { chooseLayouts } from '../../src/tensorparallel/search.js';
import { sliceParameter } from '../../src/tensorparallel/shards.js';
import { splitBatch } from '../../src/tensorparallel/splitBatch.js';
import { overlapDerivative } from '../../src/tensorparallel/subPipeline.js';
import { gptGraph } from './graphs.js';
import { runLockstep } from './lockstep.js';
import { countKernels, ids, randomParameters } from './parity.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const GPT = { vocabularySize: 13, contextLength: 5, numLayers: 2, numHeads: 4, hiddenSize: 8 };

interface Run {
  readonly loss: number;
  readonly gradients: Float32Array[];
}

function locals(graph: Graph, degree: number) {
  const assignment = chooseLayouts(graph, degree, { prefer: 'shard' });
  return {
    assignment,
    graphs: Array.from({ length: degree }, (_, index) => localise(graph, assignment, degree, index)),
  };
}

function train(graph: Graph, degree: number, numSubBatches: number, level: OverlapLevel, batch: number): Run[] {
  return tf.tidy(() => {
    const { assignment, graphs } = locals(graph, degree);
    const data = randomParameters(graph);
    const parameters = graphs.map((_, index) =>
      graph.parameters.map(({ value }, i) => {
        const { shape } = graph.values[value]!;
        const layout = assignment.layouts[value]!;
        const local = graphs[index]!.values[graphs[index]!.parameters[i]!.value]!.shape;
        return tf.tensor(sliceParameter(data[i]!, shape, layout, degree, index), [...local]);
      }),
    );
    const joints = graphs.map((local) => {
      const split = splitBatch(local, numSubBatches);
      const derivative = expandDerivative(
        differentiate({ stage: 0, graph: split, parameterOf: split.parameters.map((_, i) => i) }),
      );
      return overlapDerivative(derivative, { numSubBatches, degree, level });
    });
    const feed = {
      tokens: tf.tensor(ids(batch * 5, 13), [batch, 5], 'int32'),
      targets: tf.tensor(ids(batch * 5, 13, 3), [batch, 5], 'int32'),
    };
    const values = runLockstep(
      joints.map((joint) => joint.graph),
      feed,
      parameters,
    );
    return joints.map((joint, rank) => ({
      loss: values[rank]![joint.graph.outputs[0]!.value]!.dataSync()[0]!,
      gradients: joint.parameterGradients.map((id) => Float32Array.from(values[rank]![id!]!.dataSync())),
    }));
  });
}

function expectSame(split: Run[], whole: Run[]): void {
  whole.forEach((run, rank) => {
    expect(Math.abs(split[rank]!.loss - run.loss) / run.loss).toBeLessThan(1e-6);
    run.gradients.forEach((gradient, i) => {
      const scale = Math.max(1e-3, ...gradient.map(Math.abs));
      gradient.forEach((x, at) => {
        expect(Math.abs(split[rank]!.gradients[i]![at]! - x) / scale).toBeLessThan(1e-5);
      });
    });
  });
}

describe('a GPT in sub-batches', () => {
  it('has the loss and gradients of the whole micro-batch', () => {
    fc.assert(
      fc.property(
        fc.record({
          degree: fc.constantFrom(1, 2, 4),
          numSubBatches: fc.constantFrom(2, 3, 4),
          samples: fc.integer({ min: 1, max: 2 }),
          level: fc.constantFrom<OverlapLevel>(1, 2, 3),
          dropout: fc.constantFrom(0, 0.2),
          tiedEmbeddings: fc.boolean(),
        }),
        ({ degree, numSubBatches, samples, level, dropout, tiedEmbeddings }) => {
          const batch = numSubBatches * samples;
          const graph = gptGraph({ ...GPT, dropout, tiedEmbeddings }, batch, 5);
          expectSame(train(graph, degree, numSubBatches, level, batch), train(graph, degree, 1, 3, batch));
        },
      ),
      { numRuns: 8, seed: 20261123 },
    );
  });

  it('computes everything piece by piece: no piece is put together again', () => {
    const graph = locals(gptGraph({ ...GPT, dropout: 0.1 }, 4, 5), 2).graphs[0]!;
    const split = splitBatch(graph, 2);
    expect(countKernels(split, 'Concat')).toBe(countKernels(graph, 'Concat'));
    expect(countKernels(split, 'SplitV')).toBe(2 * countKernels(graph, 'SplitV') + 2);
    expect(countKernels(split, 'MerakAllReduce')).toBe(2 * countKernels(graph, 'MerakAllReduce'));
    expect(countKernels(split, 'BatchMatMul')).toBe(2 * countKernels(graph, 'BatchMatMul'));
  });

  it('refuses a micro-batch that does not divide', () => {
    const graph = gptGraph(GPT, 3, 5);
    expect(() => splitBatch(graph, 2)).toThrow(/config\/batch[\s\S]*multiple of 2/);
  });
});
