/**
 * All ranks take the same communicator: NCCL where each has a card of its own and all find the library, else through the host. The stand-in
 * NCCL is made to fail at its first call, so whoever uses it is found out; ranks at odds would wait for each other.
 */
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { trainGpt } from '../layouts/training.js';
import { ALL, standInFolder } from '../standin/build.js';
import { useStandIns } from './card.js';

useStandIns();
vi.setConfig({ testTimeout: 300_000 });

const isCard = process.env.MERAK_TEST_GPU === '1';
if (isCard)
  console.warn('SKIPPED: which communicator ranks agree on is shown on stand-ins, which can have several cards');

describe.skipIf(isCard)('which communicator ranks agree on', () => {
  const train = (numCards: number, dp: number) => {
    vi.stubEnv('MERAK_STANDIN_DEVICES', String(numCards));
    return trainGpt({ device: 'cuda', dp, threadsPerWorker: 1, stepTimeout: 20 }, { numLayers: 1 }, 1);
  };
  beforeEach(() => {
    vi.stubEnv('MERAK_STANDIN_NCCL_ERROR', '0:1');
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it('a card each: NCCL', async () => {
    await expect(train(2, 2)).rejects.toThrow('NCCL');
  });

  it('four ranks on three cards: through the host, also those that have a card to themselves', async () => {
    expect((await train(3, 4)).losses).toHaveLength(1);
  });

  it('one rank without the library: through the host, all of them', async () => {
    vi.stubEnv('MERAK_DEVICE_MODULE', fileURLToPath(new URL('fixtures/rankWithoutNccl.ts', import.meta.url)));
    vi.stubEnv('MERAK_TEST_LIBRARIES', standInFolder({ cuda: ALL.cuda, nvrtc: ALL.nvrtc, cublasLt: ALL.cublasLt }));
    expect((await train(2, 2)).losses).toHaveLength(1);
  });
});
