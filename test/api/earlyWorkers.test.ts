/** Workers that load before there is a plan: taken when they are as wanted, ended when not, and never left behind. */
import { cpus } from 'node:os';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { likelyDevice, threadsOf } from '../../src/api/device.js';
import { abandonEarly, startEarly, startForFlags, takeEarly } from '../../src/api/earlyWorkers.js';
import { groupOptions } from '../../src/api/groupOptions.js';
import { parseOptions } from '../../src/config/parse.js';
import type { OptionsInput } from '../../src/config/schema.js';
import type { ClusterOptions } from '../../src/coordinator/cluster.js';

interface Started {
  readonly options: ClusterOptions;
  readonly abandon: ReturnType<typeof vi.fn>;
}

const started = vi.hoisted((): Started[] => []);
const trouble = vi.hoisted((): { error?: Error } => ({}));
vi.mock('../../src/coordinator/cluster.js', () => ({
  spawnCluster: async (options: ClusterOptions) => {
    if (trouble.error !== undefined) throw trouble.error;
    const group = { options, ready: new Promise(() => {}), abandon: vi.fn(async () => {}) };
    started.push(group);
    return group;
  },
}));
// Two cores, whatever the machine has.
vi.mock('node:os', async (original) => ({
  ...(await original<typeof import('node:os')>()),
  availableParallelism: () => 2,
}));

const wantedBy = (numRanks: number, input: OptionsInput): ClusterOptions => {
  const options = parseOptions(input, 'test');
  return groupOptions(numRanks, likelyDevice(options), options, threadsOf(options, numRanks));
};

beforeEach(() => {
  started.length = 0;
  delete trouble.error;
});
afterEach(abandonEarly);

describe('the command', () => {
  it.each<[OptionsInput, number]>([
    [{ dp: 2 }, 2],
    [{ workers: 2 }, 2],
    [{ tp: 1, pp: 2, threadsPerWorker: 1 }, 2],
  ])('starts what %j asks for, and the script takes it', async (flags, numWorkers) => {
    await startForFlags(flags);
    expect(started.map(({ options }) => options.numWorkers)).toEqual([numWorkers]);
    expect(await takeEarly(wantedBy(numWorkers, flags))).toBe(started[0]);
    expect(await takeEarly(wantedBy(numWorkers, flags))).toBeUndefined();
    expect(started[0]?.abandon).not.toHaveBeenCalled();
  });

  it.each<OptionsInput>([{}, { seed: 3 }, { dp: 3 }])('starts nothing for %j', async (flags) => {
    await startForFlags(flags);
    expect(started).toEqual([]);
  });

  it('leaves it to the script to meet what is wrong', async () => {
    trouble.error = new Error('no more processes');
    await startForFlags({ dp: 2 });
    await expect(startEarly(2, parseOptions({ dp: 2 }, 'test'))).rejects.toThrow('no more processes');
    delete trouble.error;
    await startEarly(2, parseOptions({ dp: 2 }, 'test'));
    expect(started).toHaveLength(1);
  });
});

it('others than wanted are ended', async () => {
  await startForFlags({ dp: 2 });
  const other = wantedBy(2, { dp: 2, threadsPerWorker: cpus().length + 1 });
  expect(await takeEarly(other)).toBeUndefined();
  expect(started[0]?.abandon).toHaveBeenCalledOnce();
});

it('one group waits at a time, and ends with the plan that fails', async () => {
  await startForFlags({ dp: 2 });
  await startEarly(2, parseOptions({ dp: 2 }, 'test'));
  expect(started).toHaveLength(1);
  await abandonEarly();
  expect(started[0]?.abandon).toHaveBeenCalledOnce();
  expect(await takeEarly(wantedBy(2, { dp: 2 }))).toBeUndefined();
});
