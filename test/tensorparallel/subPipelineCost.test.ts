/** The closed forms and the table of the paper's notes, and when sub-batches pay on a real graph. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { collectiveSeconds, DEFAULT_COST_MODEL, nodeSeconds } from '../../src/tensorparallel/cost.js';
import { localise } from '../../src/tensorparallel/localise.js';
import { chooseLayouts } from '../../src/tensorparallel/search.js';
import {
  bestSubBatches,
  blockingPhaseSeconds,
  type NodeCosts,
  type Phase,
  subPipelinePays,
  subPipelinePhaseSeconds,
} from '../../src/tensorparallel/subPipelineCost.js';
import { gptGraph } from './graphs.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

/** 24 layers of two phases, a : b = 1 : 2, with 2r = rho (a + b). */
function layers(rho: number): Phase[] {
  const exchangeSeconds = (rho * 3) / 2;
  return Array.from({ length: 48 }, (_, i) => ({ computeSeconds: i % 2 === 0 ? 1 : 2, exchangeSeconds }));
}

function speedup(rho: number, options: Parameters<typeof subPipelinePhaseSeconds>[1]): number {
  return blockingPhaseSeconds(layers(rho)) / subPipelinePhaseSeconds(layers(rho), options);
}

describe('phases in sub-batches', () => {
  it.each([
    [0.1, 1.073, 1.099, 1.099, 1.047, 0.956],
    [0.25, 1.176, 1.247, 1.248, 1.188, 1.085],
    [0.5, 1.333, 1.492, 1.496, 1.422, 1.298],
    [1, 1.5, 1.704, 1.99, 1.657, 1.569],
    [2, 1.385, 1.495, 1.497, 1.495, 1.494],
  ])('rho %f: the speed-ups of an independent simulation', (rho, block2, model2, model4, model5, model15) => {
    expect(speedup(rho, { numSubBatches: 2, level: 2 })).toBeCloseTo(block2, 2);
    expect(speedup(rho, { numSubBatches: 2 })).toBeCloseTo(model2, 2);
    expect(speedup(rho, { numSubBatches: 4 })).toBeCloseTo(model4, 2);
    expect(speedup(rho, { numSubBatches: 2, overhead: 0.05 })).toBeCloseTo(model5, 2);
    expect(speedup(rho, { numSubBatches: 2, overhead: 0.15 })).toBeCloseTo(model15, 2);
  });

  it('never beat both bounds, nor lose where splitting is free', () => {
    const phase = fc.record({
      computeSeconds: fc.float({ min: Math.fround(0.01), max: 1, noNaN: true }),
      exchangeSeconds: fc.float({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(
        fc.array(phase, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 4 }),
        fc.constantFrom(1 as const, 2 as const, 3 as const),
        (phases, numSubBatches, level) => {
          const seconds = subPipelinePhaseSeconds(phases, { numSubBatches, level });
          const computing = phases.reduce((sum, one) => sum + one.computeSeconds, 0);
          const exchanging = phases.reduce((sum, one) => sum + one.exchangeSeconds, 0);
          expect(seconds).toBeGreaterThanOrEqual(Math.max(computing, exchanging) - 1e-9);
          expect(seconds).toBeLessThanOrEqual(blockingPhaseSeconds(phases) + 1e-9);
          expect(subPipelinePhaseSeconds(phases, { numSubBatches, busyShare: 1 })).toBeCloseTo(
            computing + exchanging,
            6,
          );
        },
      ),
    );
  });
});

describe('a GPT on a tensor axis of two', () => {
  const costsOn = (linkBytesPerSecond: number): NodeCosts => {
    const model = { ...DEFAULT_COST_MODEL, linkBytesPerSecond };
    return {
      computeSeconds: (graph, node) => nodeSeconds(graph, node, false, model),
      exchangeSeconds: (graph, node) => collectiveSeconds(graph, node, 2, model),
    };
  };
  const local = () => {
    const graph = gptGraph(
      { vocabularySize: 64, contextLength: 32, numLayers: 2, numHeads: 4, hiddenSize: 128 },
      8,
      32,
    );
    return localise(graph, chooseLayouts(graph, 2, { prefer: 'shard' }), 2, 0);
  };

  it('gains on a slow link, not on a fast one, and never where its own cores carry the bytes', () => {
    const graph = local();
    const slow = subPipelinePays(graph, costsOn(1e9), { numSubBatches: 2 });
    expect(slow.pays).toBe(true);
    expect(slow.seconds).toBeLessThan(slow.blockingSeconds);
    expect(bestSubBatches([graph], costsOn(1e9))).toBeGreaterThan(1);
    expect(bestSubBatches([graph], costsOn(1e9), { busyShare: 1 })).toBe(1);
    expect(subPipelinePays(graph, costsOn(1e9), { numSubBatches: 3 }).pays).toBe(false);
  });
});
