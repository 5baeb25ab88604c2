/**
 * Layouts of 2 to 8 ranks that share one card train as one rank on the processor. On the stand-in card (test/standin) a few of them, on a
 * real one (`npm run gpu`) all.
 */
import { beforeAll, expect, it, vi } from 'vitest';
import { maxDifference, maxRelativeDifference, type TrainedRun, trainGpt } from '../layouts/training.js';
import { useStandIns } from './card.js';

useStandIns();
// The first run of all compiles the kernels with g++.
vi.setConfig({ testTimeout: 300_000 });

const isCard = process.env.MERAK_TEST_GPU === '1';
const MODEL = { numLayers: 4, numHeads: 4, hiddenSize: 32 } as const;
const NUM_STEPS = isCard ? 5 : 2;

const EVERYWHERE = {
  'dp2 with the optimizer in pieces': { dp: 2, shardOptimizer: true },
  'one rank that recomputes': { dp: 1, recompute: 'full', microBatches: 2 },
  'tp2 in sub-batches, sharded along the sequence': { tp: 2, subBatches: 2, sequenceParallel: 'on' },
  'tp2 x pp2, 4 ranks': { tp: 2, pp: 2, microBatches: 2, schedule: '1f1b' },
  'dp2 x tp2 x pp2, 8 ranks': { dp: 2, tp: 2, pp: 2, microBatches: 2, schedule: 'zb-h1' },
} as const;
const ON_CARDS = {
  'dp4, 4 ranks': { dp: 4 },
  'tp4, 4 ranks': { tp: 4 },
  'pp4, 4 ranks': { pp: 4, microBatches: 4, schedule: '1f1b' },
  'dp2 x tp2, 4 ranks': { dp: 2, tp: 2 },
  'dp2 x pp2 in chunks, 4 ranks': { dp: 2, pp: 2, microBatches: 2, schedule: 'zb-v' },
  'dp4 with the optimizer in pieces, 4 ranks': { dp: 4, shardOptimizer: true },
  'dp8, 8 ranks': { dp: 8 },
  'dp2 x tp4, 8 ranks': { dp: 2, tp: 4 },
  'dp2 x pp4, 8 ranks': { dp: 2, pp: 4, microBatches: 4, schedule: '1f1b' },
} as const;

let serial: TrainedRun;
beforeAll(async () => {
  serial = await trainGpt({ device: 'native' }, MODEL, NUM_STEPS);
});

it.each(Object.entries({ ...EVERYWHERE, ...(isCard ? ON_CARDS : {}) }))('%s', async (_, layout) => {
  const run = await trainGpt({ ...layout, device: 'cuda', threadsPerWorker: 1 }, MODEL, NUM_STEPS);
  expect(run.losses).toHaveLength(NUM_STEPS);
  expect(maxRelativeDifference(run.losses, serial.losses)).toBeLessThan(1e-5);
  for (const [name, values] of serial.parameters) {
    expect(maxDifference(run.parameters.get(name)!, values), `parameter ${name}`).toBeLessThan(1e-4);
  }
});
