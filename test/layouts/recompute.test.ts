/** Recomputation chosen under a memory cap, on native workers: the losses of keeping everything. */
import { describe, expect, it } from 'vitest';
import { maxRelativeDifference, trainGpt } from './training.js';

describe('recompute auto on native workers', () => {
  it('trains as keeping everything does, within the cap', async () => {
    const layout = { pp: 2, microBatches: 8, schedule: 'gpipe', threadsPerWorker: 1 } as const;
    const kept = await trainGpt({ ...layout, recompute: 'none' });
    // Keeping everything needs 1.59 MB on the fuller stage, full recomputation 0.85 MB.
    const auto = await trainGpt({ ...layout, recompute: 'auto', memoryLimit: 1_000_000 });
    expect(maxRelativeDifference(auto.losses, kept.losses)).toBeLessThan(1e-5);
  });
});
