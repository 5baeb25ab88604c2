/** A script that asks for a GPU where there is none is told so, before anything starts. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { numGpusWanted, workersWanted } from '../../src/config/devices.js';
import { parseOptions } from '../../src/config/parse.js';
import { MerakError } from '../../src/errors.js';
import { findGpus, requireGpus } from '../../src/runtime/native/gpus.js';
import { trainGpt } from '../layouts/training.js';

// Outside this empty folder nothing is looked for, whatever the machine has.
process.env.MERAK_CUDA_LIBRARIES = mkdtempSync(join(tmpdir(), 'merak-no-gpu-'));

async function errorOf(work: () => unknown): Promise<MerakError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof MerakError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('without a GPU', () => {
  it.each([{ device: 'cuda' }, { devices: 'cuda' }, { devices: 'cuda:2', workers: 2 }] as const)(
    'training with %o is refused',
    async (options) => {
      const error = await errorOf(() => trainGpt(options, { numLayers: 1 }, 1));
      expect(error.code).toBe('engine/no-gpu');
      expect(error.message).toContain('libcuda');
      expect(error.hint).toContain('merak doctor');
    },
  );

  it('auto trains on the processor', async () => {
    expect(findGpus()).toEqual([]);
    expect((await trainGpt({}, { numLayers: 1 }, 1)).losses).toHaveLength(1);
  });

  it('requireGpus names the library that is not there', async () => {
    expect((await errorOf(() => requireGpus())).message).toContain('libcuda.so.1');
  });
});

describe('--devices', () => {
  const options = (record: Parameters<typeof parseOptions>[0]) => parseOptions(record, 'test');

  it('names a number of GPUs, which is that of the workers where nothing else is said', () => {
    expect(numGpusWanted(options({ devices: 'cuda:3' }))).toBe(3);
    expect(numGpusWanted(options({ devices: 'cuda' }))).toBeUndefined();
    expect(workersWanted(options({ devices: 'cuda:3' }))).toBe(3);
    expect(workersWanted(options({ devices: 'cuda:3', workers: 6 }))).toBe(6);
    expect(workersWanted(options({ devices: 'cuda:3', dp: 2 }))).toBeUndefined();
  });

  it.each(['cuda:0', 'cuda:x', 'gpu', 'cuda:1,2'])("refuses '%s'", async (devices) => {
    expect((await errorOf(() => options({ devices }))).code).toBe('config/invalid');
  });

  it('refuses another engine beside it', async () => {
    const error = await errorOf(() => numGpusWanted(options({ devices: 'cuda:2', device: 'native' })));
    expect(error.code).toBe('config/invalid');
    expect(error.message).toContain('native');
  });
});
