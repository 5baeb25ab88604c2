/** Stages, loops and folders of a run: done once, taken up again, never half-written. */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { z } from 'zod';
import { folderAtomically, writeAtomically } from '../../../src/trainers/run/folders.js';
import { type RunOptions, runTrainer } from '../../../src/trainers/run/runTrainer.js';
import { openSnapshots } from '../../../src/trainers/run/snapshots.js';
import { defineTrainer } from '../../../src/trainers/trainer.js';

let out: string;
beforeEach(async () => {
  out = await mkdtemp(join(tmpdir(), 'merak-state-'));
});
afterEach(() => rm(out, { recursive: true }));

/** Adds 1 to a vector five times, after a stage that sets it to 10; fails before the step `failAt`. */
function adder(failAt: { step: number }, calls: string[]) {
  return defineTrainer({
    name: 'adder',
    description: 'adds',
    config: z.strictObject({ by: z.number().default(1) }),
    prepare: () => tf.tidy(() => tf.variable(tf.zeros([2]))),
    async run({ config, iterate, stage }, total) {
      const began = await stage('begin', async () => {
        calls.push('begin');
        total.assign(tf.tensor1d([10, 20]));
        return { began: true, list: [1, 2] };
      }, [total]);
      const figures = await iterate('add', {
        steps: 5,
        saveEvery: 2,
        keep: [total],
        async step(index) {
          if (index === failAt.step) throw new Error('killed');
          calls.push(`step ${index}`);
          tf.tidy(() => total.assign(total.add(config.by)));
          return { sum: total.sum().dataSync()[0]! };
        },
        until: ({ sum }) => sum! >= 10 + 20 + 4 * 2 * config.by,
      });
      return { total, began, figures };
    },
    evaluate: async (_, { total, figures }) => ({
      last: (await total.data())[0]!,
      steps: figures.length,
      sums: figures.reduce((sum, one) => sum + one.sum!, 0),
    }),
  });
}

const quiet = (more: RunOptions = {}): RunOptions => ({ out, quiet: true, ...more });

it('goes on at the last save with what it kept', async () => {
  const calls: string[] = [];
  const failAt = { step: 3 };
  await expect(runTrainer(adder(failAt, calls), { by: 1 }, quiet())).rejects.toThrow('killed');
  expect(calls).toEqual(['begin', 'step 0', 'step 1', 'step 2']);
  failAt.step = -1;
  const resumed = await runTrainer(adder(failAt, calls), { by: 1 }, quiet({ resume: true }));
  // Step 2 was made but not saved, so it is made again, from the state after step 1.
  expect(calls.slice(4)).toEqual(['step 2', 'step 3']);
  expect(resumed.figures).toEqual({ last: 14, steps: 4, sums: 32 + 34 + 36 + 38 });
  expect(await readdir(join(out, 'state/add'))).toEqual(['4']);
  // A finished run gives its result again without computing it.
  const again = await runTrainer(adder(failAt, calls), { by: 1 }, quiet({ resume: true }));
  expect(again.figures).toEqual(resumed.figures);
  expect(calls).toHaveLength(6);
});

it('is not overwritten when unfinished, and resumed only as it was', async () => {
  await expect(runTrainer(adder({ step: 0 }, []), { by: 1 }, quiet({ resume: true }))).rejects.toMatchObject({
    code: 'trainer/resume',
  });
  await expect(runTrainer(adder({ step: 3 }, []), { by: 1 }, quiet())).rejects.toThrow('killed');
  await expect(runTrainer(adder({ step: -1 }, []), { by: 1 }, quiet())).rejects.toMatchObject({
    code: 'trainer/resume',
    hint: expect.stringContaining('--resume'),
  });
  await expect(runTrainer(adder({ step: -1 }, []), { by: 2 }, quiet({ resume: true }))).rejects.toMatchObject({
    code: 'trainer/resume',
    expected: 'config.by = 1',
    received: 'config.by = 2',
  });
  await rm(join(out, 'state'), { recursive: true });
  const fresh = await runTrainer(adder({ step: -1 }, []), { by: 2 }, quiet());
  expect(fresh.figures.last).toBe(18);
  // Finished: the next run may have the folder.
  expect((await runTrainer(adder({ step: -1 }, []), { by: 1 }, quiet())).figures.last).toBe(14);
});

it('keeps nothing half-written', async () => {
  const folder = join(out, 'whole');
  const failing = folderAtomically(folder, async (building) => {
    await writeFile(join(building, 'a'), 'half');
    throw new Error('disk full');
  });
  await expect(failing).rejects.toMatchObject({ code: 'checkpoint/write' });
  expect(await readdir(out)).toEqual([]);
  await writeAtomically(join(out, 'file'), 'old');
  await writeFile(join(out, 'blocked'), 'a file where a folder should be');
  await expect(writeAtomically(join(out, 'blocked/file'), 'new')).rejects.toMatchObject({ code: 'checkpoint/write' });
  expect(await readFile(join(out, 'file'), 'utf8')).toBe('old');
});

it('takes the newest complete snapshot', async () => {
  const snapshots = openSnapshots(join(out, 's'));
  expect(snapshots.latest()).toBeUndefined();
  for (const step of [9, 10]) await snapshots.save(step, (folder) => writeFile(join(folder, 'x'), String(step)));
  await expect(
    snapshots.save(11, async () => {
      throw new Error('killed');
    }),
  ).rejects.toThrow();
  expect(snapshots.latest()).toMatchObject({ step: 10 });
  expect(existsSync(join(out, 's/9'))).toBe(false);
});

it('names data that is absent, and how to get it', async () => {
  const reader = defineTrainer({
    name: 'reader',
    description: 'reads',
    config: z.strictObject({ file: z.string().default('a.csv') }),
    data: { howToGet: 'fetch it from example.org', files: ({ file }) => [file] },
    prepare: () => undefined,
    run: async () => undefined,
    evaluate: () => ({}),
  });
  await expect(runTrainer(reader, { file: 'a.csv' }, quiet({ data: out }))).rejects.toMatchObject({
    code: 'trainer/data',
    path: join(out, 'a.csv'),
    hint: expect.stringContaining('example.org'),
  });
});
