/** The recipe on generated titles: it learns, quantises, recommends, saves what `openSaved` serves; alike in every layout. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { setLaunchContext } from '../../src/config/launch.js';
import type { OptionsInput } from '../../src/config/schema.js';
import { openSaved } from '../../src/index.js';
import { type TrainSettings, train } from '../../src/launcher/train.js';
import { errorOfDifference, meanDivergence, modesOf } from '../../src/trainers/samp/measure.js';
import { expectClose, stepLosses } from './recipeRun.js';
import { killedAfterSave } from './run/killing.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-samp-'));
});
afterEach(() => setLaunchContext(undefined));
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const SMALL = [
  'numLayers=2',
  'numHeads=2',
  'hiddenSize=32',
  'contextLength=12',
  'epochs=5',
  'batchSize=16',
  'dropout=0.1',
];

function run(out: string, flags: OptionsInput = {}, more: Partial<TrainSettings> = {}) {
  const settings = {
    set: [...SMALL, 'decayThreshold=100'],
    sample: true,
    out: join(folder, out),
    quiet: true,
    ...more,
  };
  return train('samp', settings, { logDir: join(folder, 'logs'), ...flags });
}

/** The table of plans, without what was timed. */
async function plansOf(out: string): Promise<string[][]> {
  const results = JSON.parse(await readFile(join(folder, out, 'results.json'), 'utf8'));
  const { columns, rows } = results.tables.plans as { columns: string[]; rows: (string | number)[][] };
  const kept = columns.flatMap((name, i) => (/mode|layers|accuracy|KL|bytes/.test(name) ? [i] : []));
  return rows.map((row) => kept.map((i) => String(row[i])));
}

/** Of every step, within 1e-5 of those of the run of one worker. */
async function expectSameLosses(out: string): Promise<void> {
  expectClose(await stepLosses(join(folder, out), 'train'), await stepLosses(join(folder, 'alone'), 'train'), 1e-5);
}

it('learns, measures every plan, and saves the recommended one', async () => {
  const { figures } = await run('alone');
  expect(figures.floatTestAccuracy).toBeGreaterThan(0.8);
  expect(figures.recommendedTestAccuracy).toBeGreaterThan(figures.floatTestAccuracy! - 0.1);
  expect(await readdir(join(folder, 'alone'))).toEqual(
    expect.arrayContaining(['plans.md', 'plans.svg', 'layers.md', 'results.json', 'quantised']),
  );
  const plans = await plansOf('alone');
  expect(plans.map(([mode, layers]) => `${mode} ${layers}`)).toEqual([
    'float 0',
    'Quant-FFN-Only 1',
    'Quant-FFN-Only 2',
    'Fully-Quant 1',
    'Fully-Quant 2',
  ]);
  const divergence = (row: number) => Number(plans[row]![3]);
  expect(divergence(0)).toBe(0);
  expect(divergence(4)).toBeGreaterThan(divergence(2));
  const bytes = plans.map((row) => Number(row.at(-1)));
  expect(bytes[4]).toBeLessThan(bytes[2]!);
  expect(bytes[2]).toBeLessThan(bytes[0]!);

  const saved = await openSaved(join(folder, 'alone/quantised'));
  const rows = (await readFile(join(folder, 'alone/sample/csl-benchmark/cls_ctg-test.tsv'), 'utf8')).trim().split('\n');
  const answers = await saved.answer(rows.map((row) => row.split('\t')[1]));
  const hits = answers.filter((answer, i) => 'label' in answer && answer.label === rows[i]!.split('\t')[2]).length;
  expect(hits / rows.length).toBeCloseTo(figures.recommendedTestAccuracy!, 10);
  saved.close();

  const { figures: parallel } = await run('dp2', { dp: 2 });
  await expectSameLosses('dp2');
  expect(parallel.loss).toBeCloseTo(figures.loss!, 5);
  expect(parallel.floatDevAccuracy).toBe(figures.floatDevAccuracy);
});

it('killed in the middle and resumed as a pipeline, it comes to the same plans', async () => {
  const flags = ['--sample', '--log-dir', join(folder, 'logs'), '--set', ...SMALL, 'decayThreshold=100'];
  expect(await killedAfterSave('samp', join(folder, 'killed'), 'train', flags)).toBe(true);
  const { figures } = await run('killed', { pp: 2 }, { resume: true });
  const whole = JSON.parse(await readFile(join(folder, 'alone/results.json'), 'utf8'));
  await expectSameLosses('killed');
  expect(figures.loss).toBeCloseTo(whole.figures.loss, 5);
  expect(figures.floatTestAccuracy).toBe(whole.figures.floatTestAccuracy);
});

it('says which row is wrong', async () => {
  const data = join(folder, 'bad');
  await run('sampled', {}, { set: [...SMALL.slice(0, -3), 'epochs=1'] });
  const sample = join(folder, 'sampled/sample');
  const file = join(sample, 'csl-benchmark/cls_ctg-dev.tsv');
  const good = await readFile(file, 'utf8');
  await writeFile(file, good.replace(/(alpha|beta|gamma)\n/, 'delta\n'));
  await expect(run(data, {}, { sample: false, data: sample })).rejects.toMatchObject({
    code: 'trainer/data',
    path: expect.stringMatching(/cls_ctg-dev\.tsv:1, column 3 \(category\)/),
  });
});

it('counts layers from either end', () => {
  expect(modesOf('ffn', 1, 3, 'prefix')).toEqual(['ffn', 'float', 'float']);
  expect(modesOf('full', 2, 3, 'suffix')).toEqual(['float', 'full', 'full']);
});

it('divergence is that of the two distributions', () => {
  const [p, q] = [Float32Array.of(0, 0, Math.log(3), 0), Float32Array.of(0, 0, 0, 0)];
  // (1/2, 1/2) to itself, and (3/4, 1/4) to (1/2, 1/2).
  const expected = (0 + 0.75 * Math.log(1.5) + 0.25 * Math.log(0.5)) / 2;
  expect(meanDivergence(p, q, 2)).toBeCloseTo(expected, 6);
  expect(meanDivergence(p, p, 2)).toBe(0);
});

it('takes the error of a difference of accuracies from the rows where just one is right', () => {
  const labels = Int32Array.of(0, 1, 1, 0);
  const right = Float32Array.of(1, 0, 0, 1, 0, 1, 1, 0);
  const twoWrong = Float32Array.of(1, 0, 1, 0, 0, 1, 0, 1);
  expect(errorOfDifference(right, right, labels)).toBe(0);
  expect(errorOfDifference(right, twoWrong, labels)).toBeCloseTo(Math.SQRT2 / 4, 12);
});
