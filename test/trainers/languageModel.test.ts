/** The recipe learns its sample, the same in every layout, and refuses a text it cannot read. */
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
  'steps=150',
  'batchSize=16',
];

function run(out: string, flags: OptionsInput, more: Partial<TrainSettings> = {}) {
  const settings = { set: SMALL, sample: true, out: join(folder, out), quiet: true, ...more };
  return train('language-model', settings, { logDir: join(folder, 'logs'), ...flags });
}

/** Nats per byte of the best model that looks at nothing. */
function unigramEntropy(text: Buffer): number {
  const counts = new Map<number, number>();
  for (const byte of text) counts.set(byte, (counts.get(byte) ?? 0) + 1);
  return [...counts.values()].reduce((sum, count) => sum - (count / text.length) * Math.log(count / text.length), 0);
}

it('learns, writes what it says, and gives the same figures in parallel', async () => {
  const alone = await run('alone', {});
  const text = await readFile(join(folder, 'alone/sample/text.txt'));
  expect(alone.figures.validationLoss).toBeLessThan(unigramEntropy(text) - 0.1);
  expect(await readdir(join(folder, 'alone'))).toEqual(
    expect.arrayContaining(['log.jsonl', 'loss.svg', 'model.safetensors', 'results.json', 'sample', 'state']),
  );
  const saved = JSON.parse(await readFile(join(folder, 'alone/results.json'), 'utf8'));
  expect(saved).toMatchObject({ trainer: 'language-model', figures: alone.figures, config: { hiddenSize: 32 } });
  expect(await readFile(join(folder, 'alone/loss.svg'), 'utf8')).toMatch(/^<svg/);
  for (const [out, flags] of [['dp2', { dp: 2 }] as const, ['pp2', { pp: 2 }] as const]) {
    const parallel = await run(out, flags);
    // 150 steps at this learning rate amplify rounding; test/layouts compares 20 steps to 1e-5.
    expect(parallel.figures.loss).toBeCloseTo(alone.figures.loss!, 3);
    expect(parallel.figures.validationLoss).toBeCloseTo(alone.figures.validationLoss!, 3);
  }
});

it('says that the text is absent', async () => {
  await expect(run('absent', {}, { sample: false, data: folder })).rejects.toMatchObject({
    code: 'trainer/data',
    path: join(folder, 'text.txt'),
  });
});
