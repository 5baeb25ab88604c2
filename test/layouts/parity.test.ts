/** Parallel equals serial: the same 20 steps in every layout, against one process. */
import { beforeAll, describe, expect, it } from 'vitest';
import { maxDifference, maxRelativeDifference, NUM_STEPS, type TrainedRun, trainGpt } from './training.js';

const LAYOUTS = {
  dp2: { dp: 2 },
  tp2: { tp: 2 },
  'pp2 1f1b': { pp: 2, microBatches: 4, schedule: '1f1b' },
  'pp2 scp': { pp: 2, microBatches: 4, schedule: 'scp', recompute: 'full' },
  'pp4 1f1b': { pp: 4, microBatches: 4, schedule: '1f1b' },
  'pp4 1f1b recompute': { pp: 4, microBatches: 4, schedule: '1f1b', recompute: 'full' },
  'pp4 scp': { pp: 4, microBatches: 8, schedule: 'scp' },
  'pp4 scp recompute': { pp: 4, microBatches: 8, schedule: 'scp', recompute: 'full' },
  'pp4 zb-h1': { pp: 4, microBatches: 8, schedule: 'zb-h1' },
  'pp4 zb-h1 recompute': { pp: 4, microBatches: 8, schedule: 'zb-h1', recompute: 'full' },
  'tp2 x pp2 zb-h1': { tp: 2, pp: 2, microBatches: 2, schedule: 'zb-h1' },
  'pp4 interleaved recompute': { pp: 4, microBatches: 4, schedule: 'interleaved', recompute: 'full' },
  'pp4 zb-v recompute': { pp: 4, microBatches: 8, schedule: 'zb-v', recompute: 'full' },
  'dp2 x pp2 interleaved, three chunks': { dp: 2, pp: 2, microBatches: 2, schedule: 'interleaved', chunks: 3 },
  'tp2 x pp2 zb-v': { tp: 2, pp: 2, microBatches: 4, schedule: 'zb-v' },
  'dp2 x tp2 x pp2': { dp: 2, tp: 2, pp: 2, microBatches: 2, schedule: '1f1b' },
  'dp2 x tp2 x pp2 scp recompute': { dp: 2, tp: 2, pp: 2, microBatches: 4, schedule: 'scp', recompute: 'full' },
} as const;

describe('a tied GPT with dropout, 5 layers and 251 tokens', () => {
  let serial: TrainedRun;
  beforeAll(async () => {
    serial = await trainGpt({});
  });

  it('learns in one process', () => {
    expect(serial.losses).toHaveLength(NUM_STEPS);
    expect(serial.losses.at(-1)!).toBeLessThan(serial.losses[0]!);
  });

  it.each(Object.entries(LAYOUTS))('%s', async (_, options) => {
    const parallel = await trainGpt({ ...options, threadsPerWorker: 1 });
    expect(maxRelativeDifference(parallel.losses, serial.losses)).toBeLessThan(1e-5);
    for (const [name, values] of serial.parameters) {
      expect(maxDifference(parallel.parameters.get(name)!, values), `parameter ${name}`).toBeLessThan(1e-4);
    }
  });
});
