/** The recipe csl: the benchmark's measures, both models on generated papers alike in every layout, a killed run, bad data. */
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { setLaunchContext } from '../../src/config/launch.js';
import type { OptionsInput } from '../../src/config/schema.js';
import { type TrainSettings, train } from '../../src/launcher/train.js';
import { knownKeywords, lead, leadCharacters, majority } from '../../src/trainers/csl/baselines.js';
import { config } from '../../src/trainers/csl/config.js';
import { keywordsOf } from '../../src/trainers/csl/data.js';
import { foundBpref, keywordScores, nearestLabel } from '../../src/trainers/csl/metrics.js';
import { samplePapers } from '../../src/trainers/csl/sample.js';
import { expectClose, stepLosses } from './recipeRun.js';
import { killedAfterSave } from './run/killing.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-csl-'));
});
afterEach(() => setLaunchContext(undefined));
afterAll(() => rm(folder, { recursive: true }));

const SMALL = ['vocabularySize=300', 'hiddenSize=32', 'numHeads=2', 'numLayers=1', 'batchSize=8'];
const WRITER = 'name: writer, sourceLength: 40, targetLength: 12, learningRate: 0.005, dropout: 0';
const CLASSES = 'name: classes, model: classifier, tasks: [ctg, dcp], sourceLength: 40, learningRate: 0.005';
const arms = (...of: string[]): string => `arms=[${of.map((one) => `{${one}}`).join(', ')}]`;

function run(out: string, set: readonly string[], flags: OptionsInput = {}, more: Partial<TrainSettings> = {}) {
  const settings = { set: [...SMALL, ...set], sample: true, out: join(folder, out), quiet: true, ...more };
  return train('csl', settings, { logDir: join(folder, 'logs'), ...flags });
}

/** The losses of every step within 1e-5. */
async function expectAlike(out: string, other: string, part: string): Promise<void> {
  expectClose(await stepLosses(join(folder, out), part), await stepLosses(join(folder, other), part), 1e-5);
}

describe('measures', () => {
  it('Bpref as the benchmark has it ignores recall, F1 does not', () => {
    expect(foundBpref(['a'], ['a', 'b', 'c', 'd'])).toBe(1);
    // x is wrong, then a and b are right: (1 - 1/4) + (1 - 1/4), over two found.
    expect(foundBpref(['x', 'a', 'b', 'y'], ['a', 'b', 'c'])).toBe(0.75);
    expect(foundBpref(['a', 'x', 'b'], ['a', 'b'])).toBeCloseTo((1 + 2 / 3) / 2, 12);
    expect([foundBpref(['x'], ['a']), foundBpref([], ['a'])]).toEqual([0, 0]);
    const { bpref, f1 } = keywordScores([['a'], ['x']], [['a', 'b', 'c'], ['a']]);
    expect(bpref).toBe(0.5);
    expect(f1).toBeCloseTo((2 * 1) / 4 / 2, 12);
  });

  it('takes the label nearest to what was written, one at random where none is', () => {
    const labels = ['工学', '医学', '农学', '历史学'];
    expect(nearestLabel('历史', labels, 0, 0)).toBe('历史学');
    expect(nearestLabel('医', labels, 0, 0)).toBe('医学');
    const drawn = Array.from({ length: 200 }, (_, row) => nearestLabel('xyz', labels, 1, row));
    expect(new Set(drawn).size).toBe(4);
    expect(nearestLabel('xyz', labels, 1, 7)).toBe(drawn[7]);
  });

  it('baselines read what they say', () => {
    expect(majority(['b', 'a', 'a', 'b', 'a'])).toBe('a');
    expect(lead('采用0.5的参数,建立了模型；利用方程')).toBe('采用0.5的参数');
    expect(lead('.。目的:了解情况')).toBe('目的');
    expect([...leadCharacters('字'.repeat(50))]).toHaveLength(32);
    expect(knownKeywords('关于神经网络和网络', new Set(['网络', '神经网络', '图']))).toEqual(['神经网络', '网络']);
    expect(keywordsOf('染色_ 匀染性__棉织物')).toEqual(['染色', '匀染性', '棉织物']);
  });
});

it('classifies and writes what it was taught, with tables, pictures and answers beside the papers', async () => {
  const writer = 'name: writer, tasks: [ctg], sourceLength: 8, targetLength: 5, learningRate: 0.005, dropout: 0';
  const { figures } = await run('alone', ['prompt=false', arms(`${CLASSES}, epochs: 4`, `${writer}, epochs: 30`)]);
  expect(figures['classes/ctg/accuracy']).toBeGreaterThan(0.9);
  expect(figures['classes/dcp/accuracy']).toBeGreaterThan(0.9);
  expect(figures['writer/ctg/accuracy']).toBeGreaterThan(figures['most-frequent-label/ctg/accuracy']! + 0.2);
  const files = ['scores.md', 'scores.svg', 'loss.svg', 'answers.jsonl', 'tokenizer.json', 'writer.safetensors'];
  expect(await readdir(join(folder, 'alone'))).toEqual(expect.arrayContaining(files));
  const answers = (await readFile(join(folder, 'alone/answers.jsonl'), 'utf8')).trim().split('\n');
  const paper = JSON.parse(answers[0]!);
  expect(Object.keys(paper)).toEqual(['title', 'abstract', 'keywords', 'category', 'discipline', 'answers']);
  const right = answers.filter((line) => JSON.parse(line).answers.classes.dcp === JSON.parse(line).discipline).length;
  expect(right / answers.length).toBeCloseTo(figures['classes/dcp/accuracy']!, 10);
});

it('makes the same losses with dp2 and pp2', async () => {
  const set = [
    arms(`${CLASSES}, epochs: 1`, `${WRITER}, tasks: [ctg, dcp, kg, ts], trainPart: dev, epochs: 1`),
    'batchSize=32',
  ];
  await run('same', set);
  for (const [out, flags] of [
    ['same-dp2', { dp: 2 }],
    ['same-pp2', { pp: 2 }],
  ] as const) {
    await run(out, set, { ...flags, threadsPerWorker: 1 });
    for (const part of ['train-classes', 'train-writer']) await expectAlike(out, 'same', part);
  }
});

it('killed in the middle and resumed in another layout, it comes to the same end', async () => {
  const set = [arms(`${WRITER}, tasks: [ctg, ts], trainPart: dev, epochs: 4`)];
  const flags = ['--sample', '--log-dir', join(folder, 'logs'), '--set', ...SMALL, ...set];
  expect(await killedAfterSave('csl', join(folder, 'killed'), 'train-writer', flags)).toBe(true);
  const resumed = await run('killed', set, { dp: 2 }, { resume: true });
  const whole = await run('whole', set);
  await expectAlike('killed', 'whole', 'train-writer');
  expect(resumed.figures['writer/ts/rougeL']).toBeCloseTo(whole.figures['writer/ts/rougeL']!, 2);
});

describe('refuses', () => {
  const set = [arms(`${CLASSES}, epochs: 1`)];
  async function sample(): Promise<string> {
    const data = await mkdtemp(join(folder, 'bad-'));
    await samplePapers(data, config.parse({}), 0);
    return data;
  }
  const change = async (file: string, edit: (text: string) => string): Promise<void> =>
    writeFile(file, edit(await readFile(file, 'utf8')));

  it.each([
    [
      'a label that training lacks',
      'cls_dcp-test.tsv',
      (text: string) => text.replace(/(数学|药学|物理学|护理学)\n/, '数字\n'),
      /cls_dcp-test\.tsv:1, column 3 \(label\)$/,
      /no training row/,
    ],
    [
      'a wrong number of columns',
      'cls_ctg-train.tsv',
      (text: string) => text.replace(/\t[^\t]*\n/, '\n'),
      /cls_ctg-train\.tsv:1, column 3 \(category\)$/,
      /too few/,
    ],
    [
      'a row without a title',
      'cls_ctg-train.tsv',
      (text: string) => text.replace(/\t[^\t]*\t/, '\t\t'),
      /cls_ctg-train\.tsv:1, column 2 \(title\)$/,
      /lacks its title/,
    ],
    ['an empty file', 'cls_ctg-train.tsv', () => '', /cls_ctg-train\.tsv$/, /empty/],
    [
      'rows of other papers',
      'kg-test.tsv',
      (text: string) => text.split('\n').toReversed().filter(Boolean).join('\n'),
      /kg-test\.tsv:1, column 2 \(abstract and title\)$/,
      /another paper/,
    ],
    [
      'fewer papers',
      'cls_ctg-test.tsv',
      (text: string) => text.split('\n').slice(0, 9).join('\n'),
      /cls_ctg-test\.tsv, row 10$/,
      /do not have the same papers/,
    ],
  ])('%s', async (_, file, edit, path, message) => {
    const data = await sample();
    await change(join(data, 'csl-benchmark', file), edit);
    await expect(run('bad', set, {}, { sample: false, data })).rejects.toMatchObject({
      code: 'trainer/data',
      path: expect.stringMatching(path),
      message: expect.stringMatching(message),
    });
  });

  it('what is not UTF-8', async () => {
    const data = await sample();
    await appendFile(join(data, 'csl-benchmark/ts-test.tsv'), Buffer.from('to title\tcaf\xe9\tx\n', 'latin1'));
    await expect(run('bad', set, {}, { sample: false, data })).rejects.toMatchObject({
      code: 'trainer/data',
      path: expect.stringMatching(/ts-test\.tsv:49:13$/),
    });
  });

  it('a folder without the files, saying where to get them', async () => {
    const data = join(folder, 'nothing');
    await mkdir(data);
    await expect(run('bad', set, {}, { sample: false, data })).rejects.toMatchObject({
      code: 'trainer/data',
      hint: expect.stringContaining('https://github.com/ydli-ai/CSL'),
    });
  });

  it.each([
    ['a classifier of titles', `${CLASSES.replace('dcp', 'ts')}`, 'arms.0.tasks'],
    ['two arms of one name', `${CLASSES}}, {${CLASSES}`, 'arms.1'],
  ])('%s', async (_, wrong, path) => {
    await expect(run('bad', [arms(wrong)])).rejects.toMatchObject({ code: 'config/invalid', path });
    await rm(join(folder, 'bad'), { recursive: true, force: true });
  });
});
