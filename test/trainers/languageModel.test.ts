/** The recipe learns its sample, the same in every layout, and goes on with the same losses after it was stopped. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { setLaunchContext } from '../../src/config/launch.js';
import type { OptionsInput } from '../../src/config/schema.js';
import { type TrainSettings, train } from '../../src/launcher/train.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-trainer-'));
});
afterEach(() => setLaunchContext(undefined));
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const SMALL = [
  'numLayers=2',
  'numHeads=2',
  'hiddenSize=32',
  'contextLength=16',
  'learningRate=1e-2',
  'steps=80',
  'warmUp=2',
];

function run(out: string, flags: OptionsInput, more: Partial<TrainSettings> = {}) {
  const settings = { set: SMALL, sample: true, out: join(folder, out), quiet: true, ...more };
  return train('language-model', settings, { logDir: join(folder, 'logs'), ...flags });
}

it('learns, writes what it says, and gives the same figures in parallel', async () => {
  const alone = await run('alone', {});
  expect(alone.figures.validationLoss).toBeLessThan(2.6);
  expect(await readdir(join(folder, 'alone'))).toEqual(
    expect.arrayContaining(['log.jsonl', 'loss.svg', 'model.safetensors', 'results.json', 'sample', 'state']),
  );
  const saved = JSON.parse(await readFile(join(folder, 'alone/results.json'), 'utf8'));
  expect(saved).toMatchObject({ trainer: 'language-model', figures: alone.figures, config: { hiddenSize: 32 } });
  expect(await readFile(join(folder, 'alone/loss.svg'), 'utf8')).toMatch(/^<svg/);
  for (const flags of [{ dp: 2 }, { pp: 2 }] as const) {
    const parallel = await run(JSON.stringify(flags).replace(/\W/g, ''), flags);
    expect(parallel.figures.loss).toBeCloseTo(alone.figures.loss!, 4);
    expect(parallel.figures.validationLoss).toBeCloseTo(alone.figures.validationLoss!, 4);
  }
});
