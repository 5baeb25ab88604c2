/** The recipe on a small generated world: alike on two workers and when killed; BCCD where it lies. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { setLaunchContext } from '../../../src/config/launch.js';
import type { OptionsInput } from '../../../src/config/schema.js';
import { type TrainSettings, train } from '../../../src/launcher/train.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SHARED = fileURLToPath(new URL('../../../../shared/data/', import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-fsod-'));
});
afterEach(() => setLaunchContext(undefined));
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const SMALL = [
  ...['width=4', 'headWidth=16', 'roisPerImage=8', 'supportSize=16', 'batchSize=4', 'baseSteps=6', 'fineTuneSteps=4'],
  ...['trainImages=60', 'testImages=8', 'shots=1', 'numSeeds=1', 'arms=["residual"]'],
];

function run(out: string, flags: OptionsInput = {}, more: Partial<TrainSettings> = {}) {
  const settings = { set: SMALL, sample: true, out: join(folder, out), quiet: true, ...more };
  return train('drl-fsod', settings, { logDir: join(folder, 'logs'), ...flags });
}

it('draws, tables and figures; two replicas come to the same losses', async () => {
  const { figures } = await run('alone', { dp: 1 });
  expect(await readdir(join(folder, 'alone'))).toEqual(
    expect.arrayContaining(['ap50.md', 'ap50.svg', 'classes.md', 'detections.svg', 'results.json']),
  );
  expect(figures['baseAP50-residual']).toBeGreaterThanOrEqual(0);
  const { figures: parallel } = await run('dp2', { dp: 2 });
  const [alone, two] = [figures['loss-residual']!, parallel['loss-residual']!];
  expect(Math.abs(two - alone) / alone).toBeLessThan(1e-5);
});

it('killed in the middle and resumed, it comes to the same end', async () => {
  const out = join(folder, 'killed');
  const args = ['--import', 'tsx', 'test/launcher/cli.ts', 'train', 'drl-fsod', '--sample', '--out', out, '--dp', '1'];
  const child = spawn(process.execPath, [...args, '--log-dir', join(folder, 'logs'), '--set', ...SMALL], {
    cwd: ROOT,
    stdio: 'ignore',
    timeout: 60_000,
  });
  const end = new Promise<string | null>((resolve) => child.on('exit', (_, signal) => resolve(signal)));
  const watch = setInterval(() => {
    const state = join(out, 'state/base-residual-0');
    if (existsSync(state) && readdirSync(state).some((name) => /^\d+$/.test(name))) child.kill('SIGKILL');
  }, 5);
  expect(await end).toBe('SIGKILL');
  clearInterval(watch);
  const { figures } = await run('killed', { dp: 1 }, { resume: true });
  const whole = JSON.parse(await readFile(join(folder, 'alone/results.json'), 'utf8'));
  expect(figures['loss-residual']).toBeCloseTo(whole.figures['loss-residual'], 5);
  expect(figures['baseAP50-residual']).toBeCloseTo(whole.figures['baseAP50-residual'], 5);
});

it('refuses classes with too few boxes, and unknown ones, before it trains', async () => {
  const data = join(folder, 'alone/sample');
  await expect(run('few', {}, { sample: false, data, set: [...SMALL, 'shots=1000'] })).rejects.toMatchObject({
    code: 'trainer/data',
    message: expect.stringContaining("'red-square' has too few boxes"),
  });
  const [name] = (await readFile(join(data, 'ImageSets/Main/train.txt'), 'utf8')).split('\n');
  const file = join(data, `Annotations/${name}.xml`);
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace(/<name>.*<\/name>/, '<name>red-egg</name>'));
  await expect(run('unknown', {}, { sample: false, data })).rejects.toMatchObject({
    code: 'trainer/data',
    path: expect.stringContaining(file),
  });
});

const bccd = existsSync(join(SHARED, 'bccd'));
if (!bccd) console.warn(`skipped: blood cells, for there is no ${join(SHARED, 'bccd')} (docs/trainers/drl-fsod.md)`);
it.skipIf(!bccd)('blood cells: reads, trains a step, draws', async () => {
  const classes = [
    'format=packed',
    'baseClasses=["RBC","WBC"]',
    'novelClasses=["Platelets"]',
    'anchorSizes=[10,20,40]',
  ];
  const set = [...SMALL.filter((one) => !/Steps/.test(one)), 'baseSteps=2', 'fineTuneSteps=1', ...classes];
  const { figures } = await run('cells', { dp: 1 }, { sample: false, data: SHARED, set });
  expect(figures['loss-residual']).toBeGreaterThan(0);
  expect(await readFile(join(folder, 'cells/detections.svg'), 'utf8')).toContain('image/jpeg');
});
