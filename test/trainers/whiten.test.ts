/** Whitening against statistics in double precision; alike on one worker and two, killed and resumed; files larger than a block. */
import { writeFile } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { loadState, readers } from '../../src/index.js';
import { whiten } from '../../src/trainers/whiten/index.js';
import { whitenings } from '../../src/trainers/whiten/transform.js';
import { keyedRandom } from '../../src/trainers/words/keyedRandom.js';
import { expectClose, recipeRun } from './recipeRun.js';

const SMALL = ['dimensions=12', 'numContexts=24', 'numComponents=[-1, 6, 0]', 'retrievalRounds=1', 'minCount=1'];
const { path, run, killed } = recipeRun('whiten', SMALL);

const [ROWS, SIZE] = [5003, 7];

/** Rows whose columns depend on each other, far from 0. */
async function vectorFile(name: string): Promise<Float32Array> {
  const random = keyedRandom(5);
  const rows = Float32Array.from({ length: ROWS * SIZE }, () => random() - 0.5);
  for (let at = 0; at < rows.length; at += SIZE) {
    for (let j = 1; j < SIZE; j++) rows[at + j]! += 0.5 * rows[at + j - 1]!;
    for (let j = 0; j < SIZE; j++) rows[at + j] = rows[at + j]! * (j + 1) + 3;
  }
  await readers.writeNpy(path(name), { numRows: ROWS, size: SIZE }, whole(rows));
  return rows;
}

async function* whole(rows: Float32Array): AsyncGenerator<Float32Array> {
  yield rows;
}

/** In double precision, in two passes. */
function statistics(rows: Float32Array, size: number): { mean: number[]; covariance: number[] } {
  const count = rows.length / size;
  const mean = new Array<number>(size).fill(0);
  for (let at = 0; at < rows.length; at++) mean[at % size]! += rows[at]! / count;
  const covariance = new Array<number>(size * size).fill(0);
  for (let at = 0; at < rows.length; at += size) {
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        covariance[i * size + j]! += ((rows[at + i]! - mean[i]!) * (rows[at + j]! - mean[j]!)) / (count - 1);
      }
    }
  }
  return { mean, covariance };
}

const FILE = ['vectors=x.npy', 'evaluate=false', 'sources=[target]', 'blockRows=64', 'retrievalRounds=1'];

async function transform(out: string): Promise<{ mean: Float32Array; matrix: Float32Array }> {
  const { mean, matrix } = (await loadState(path(out, 'transform-target'))).tensors;
  const values = { mean: mean!.dataSync<'float32'>(), matrix: matrix!.dataSync<'float32'>() };
  tf.dispose([mean!, matrix!]);
  return values;
}

it('a file read by blocks comes out with mean 0 and covariance 1, the same on two workers, and killed on one and resumed on two', async () => {
  const rows = await vectorFile('x.npy');
  const more = { set: FILE, sample: false, data: path() };
  await run('one', {}, more);
  const file = await readers.openNpy(path('one/whitened.npy'));
  const { mean, covariance } = statistics(await file.read(0, ROWS), SIZE);
  await file.close();
  expectClose(mean, new Array(SIZE).fill(0), 1e-5);
  expectClose(
    covariance,
    Array.from({ length: SIZE * SIZE }, (_, i) => (i % (SIZE + 1) === 0 ? 1 : 0)),
    1e-4,
  );
  const alone = await transform('one');
  expectClose(alone.mean, statistics(rows, SIZE).mean, 1e-6 * 10);

  await run('dp2', { dp: 2 }, more);
  await killed('pp2', 'moments-target', ['--data', path()], FILE);
  await run('pp2', { pp: 2 }, { ...more, resume: true });
  const largest = Math.max(...alone.matrix.map(Math.abs));
  for (const out of ['dp2', 'pp2']) {
    const other = await transform(out);
    expectClose(other.mean, alone.mean, 1e-6 * Math.max(...alone.mean.map(Math.abs)));
    expectClose(other.matrix, alone.matrix, 1e-6 * largest);
  }
});

it('makes vectors from a corpus, whitens by either statistics, and says what it brings; on two workers the same', async () => {
  const { figures, tables, plots } = await run('texts');
  const { columns, rows } = tables.whitening!;
  expect(rows.map(([source, kept]) => `${source} ${kept}`)).toEqual([
    'none (plain) 12',
    'target 12',
    'target 6',
    'corpus 12',
    'corpus 6',
  ]);
  expect(rows.map((row) => row[columns.indexOf('bytes per vector')])).toEqual([48, 48, 24, 48, 24]);
  for (const row of rows) expect(Number(row[columns.indexOf('ms per query')])).toBeGreaterThan(0);
  expect(plots).toEqual(['whitening.svg', 'variances.svg']);
  // Topics make up what these sentences mean.
  expect(figures['spearman-target-12']).toBeGreaterThan(0.5);
  expect(Math.abs(figures['isotropy-target-12']!)).toBeLessThan(0.05);
  expect(figures['isotropy-plain']).toBeGreaterThan(0.2);
  const { figures: parallel } = await run('texts2', { workers: 2 });
  for (const [name, value] of Object.entries(figures)) expect(parallel[name], name).toBeCloseTo(value, 5);
});

it('keeps as many columns as have variance, and refuses vectors that are all the same', () => {
  const mean = Float64Array.of(1, 2, 3);
  const covariance = Float64Array.of(4, 0, 0, 0, 0, 0, 0, 0, 9);
  const [whitening, ...others] = whitenings({ numRows: 9, mean, covariance }, [-1, 3], 1e-12);
  expect(others).toEqual([]);
  expect(whitening!.numComponents).toBe(2);
  expect([...whitening!.matrix].map(Math.abs)).toEqual([0, 0.5, 0, 0, Math.fround(1 / 3), 0]);
  const same = { numRows: 9, mean, covariance: new Float64Array(9) };
  expect(() => whitenings(same, [-1], 1e-12)).toThrow('no variance to whiten');
});

describe('bad data is refused before anything is fitted', () => {
  const PAIRS = 'stsb-multi-mt/stsb-en-test.csv';
  it.each([
    ['a score that is none', 'a b,c d,4\na b,c d,high\n', /stsb-en-test\.csv:2, column 3 \(score\)$/],
    ['a column too few', 'a b,c d,4\nc d,1\n', /stsb-en-test\.csv:2, column 3 \(score\)$/],
    ['an empty file', '', /stsb-en-test\.csv$/],
    ['not UTF-8', Buffer.from([0x61, 0x2c, 0xe9, 0x2c, 0x31, 0x0a]), /stsb-en-test\.csv:1:3$/],
  ])('%s', async (_, content, where) => {
    const data = path('bad');
    await whiten.data!.sample!(data, whiten.config.parse({}), 0);
    await writeFile(path('bad', PAIRS), content);
    await expect(run('refused', {}, { sample: false, data })).rejects.toMatchObject({
      code: 'trainer/data',
      path: expect.stringMatching(where),
    });
  });

  it('vectors that are cut short, not finite, or do not fit their pairs', async () => {
    const rows = await vectorFile('y.npy');
    const refused = (set: readonly string[]) =>
      expect(run('refused', {}, { set: [...set, 'evaluate=false', 'sources=[target]'], sample: false, data: path() }))
        .rejects;
    await (await refused(['vectors=absent.npy'])).toMatchObject({ code: 'trainer/data' });
    await writeFile(path('short.npy'), 'text');
    await (await refused(['vectors=short.npy'])).toMatchObject({ code: 'trainer/data', path: path('short.npy') });
    rows[3 * SIZE + 2] = Number.NaN;
    await readers.writeNpy(path('nan.npy'), { numRows: ROWS, size: SIZE }, whole(rows));
    await (await refused(['vectors=nan.npy'])).toMatchObject({ path: `${path('nan.npy')}, row 3, column 2` });
  });

  it('an npm package that is not there', async () => {
    await expect(run('npm', {}, { set: [...SMALL, 'corpus=[npm:no-such-package/text.txt]'] })).rejects.toMatchObject({
      code: 'trainer/data',
      hint: 'npm install no-such-package',
    });
  });
});
