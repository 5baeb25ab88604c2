/** Sub-pipelined, sequence-parallel and optimizer-sharding layouts on native workers: the same training as in one process. */
import { beforeAll, describe, expect, it } from 'vitest';
import { maxDifference, maxRelativeDifference, type TrainedRun, trainGpt } from './training.js';

const LAYOUTS = {
  'tp2 in 2 sub-batches': { tp: 2, subBatches: 2 },
  'tp2 in 4 sub-batches, recomputed': { tp: 2, subBatches: 4, recompute: 'full' },
  'tp2, sequence parallel': { tp: 2, sequenceParallel: 'on' },
  'tp2, sequence parallel, in 2 sub-batches': { tp: 2, sequenceParallel: 'on', subBatches: 2 },
  'tp4 x pp2, sequence parallel, scp, recomputed': {
    tp: 4,
    pp: 2,
    microBatches: 4,
    schedule: 'scp',
    recompute: 'full',
    sequenceParallel: 'on',
    subBatches: 2,
  },
  'dp2, sharded optimizer': { dp: 2, shardOptimizer: true },
  'dp2 x pp2, tied embedding across stages, sharded optimizer': { dp: 2, pp: 2, microBatches: 2, shardOptimizer: true },
  'dp2 on tfjs, sharded optimizer': { dp: 2, shardOptimizer: true, device: 'tfjs' },
  'dp2 x tp2 x pp2 in 2 sub-batches': {
    dp: 2,
    tp: 2,
    pp: 2,
    microBatches: 2,
    subBatches: 2,
    schedule: '1f1b',
    shardOptimizer: true,
  },
} as const;

describe('a tied GPT with dropout', () => {
  let serial: TrainedRun;
  beforeAll(async () => {
    serial = await trainGpt({});
  });

  it.each(Object.entries(LAYOUTS))('%s', async (_, options) => {
    const parallel = await trainGpt({ ...options, threadsPerWorker: 1 });
    expect(maxRelativeDifference(parallel.losses, serial.losses)).toBeLessThan(1e-6);
    for (const [name, values] of serial.parameters) {
      expect(maxDifference(parallel.parameters.get(name)!, values), `parameter ${name}`).toBeLessThan(1e-5);
    }
  });
});
