/** The recipe against exact transport: better with more entries, alike on one worker and on two, exact marginals; bad clouds are refused. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { setLaunchContext } from '../../src/config/launch.js';
import type { OptionsInput } from '../../src/config/schema.js';
import { type TrainSettings, train } from '../../src/launcher/train.js';
import { costOf, marginalResidual, roundToMarginals, squaredDistance } from '../../src/trainers/ot/plan.js';
import { gaussians } from '../../src/trainers/ot/points.js';
import { chooseSupport } from '../../src/trainers/ot/support.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-ot-'));
});
afterEach(() => setLaunchContext(undefined));
afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** Nine groups of workers start and end. */
const TIMEOUT_MS = 300_000;
const FILES = [
  ...['points=files', 'outer=120', 'ranks=[5]', 'budgets=[1,2]', 'sinkhornRounds=50'],
  ...['lowRankRanks=[8]', 'lowRankSteps=60', 'lowRankRounds=15'],
];

function run(out: string, flags: OptionsInput = {}, more: Partial<TrainSettings> = {}) {
  const settings = { set: FILES, sample: true, out: join(folder, out), quiet: true, ...more };
  return train('ot', settings, { logDir: join(folder, 'logs'), ...flags });
}

it(
  'comes close to the exact cost, the closer the more entries, the same on two workers',
  async () => {
    const { figures, tables } = await run('alone', {}, { set: FILES });
    const excess = (method: string) => figures[`excess files, ${method}`]!;
    expect(excess('rank 5 + 2 n')).toBeLessThan(0.02);
    expect(excess('rank 5 + 2 n')).toBeGreaterThan(-1e-6);
    expect(excess('rank 5 + 2 n')).toBeLessThan(excess('rank 5 + 1 n'));
    expect(excess('rank 5 + 1 n')).toBeLessThan(excess('rank 5'));
    expect(excess('low-rank Sinkhorn 8')).toBeGreaterThan(excess('rank 5 + 2 n'));
    expect(excess('low-rank Sinkhorn 8')).toBeLessThan(excess('rank 5'));
    const { columns, rows } = tables.transport!;
    for (const row of rows) expect(Number(row[columns.indexOf('rounded')])).toBeLessThan(1e-12);
    expect(await readdir(join(folder, 'alone'))).toEqual(
      expect.arrayContaining(['transport.md', 'excess.svg', 'residual.svg', 'plans', 'results.json']),
    );
    const saved = JSON.parse(await readFile(join(folder, 'alone/plans/files.json'), 'utf8'));
    expect(saved.q).toHaveLength(60 * saved.rank);
    const { figures: parallel } = await run(
      'two',
      { workers: 2 },
      { set: [...FILES, 'baselines=[sinkhorn,low-rank-sinkhorn]'] },
    );
    const shared = Object.keys(parallel).filter((name) => name.startsWith('cost'));
    expect(shared).toHaveLength(4);
    for (const name of shared) expect(Math.abs(parallel[name]! / figures[name]! - 1), name).toBeLessThan(1e-6);
  },
  TIMEOUT_MS,
);

it(
  'comes close to the exact cost of unequal masses too',
  async () => {
    const set = [...FILES, 'xMass=a.tsv', 'baselines=[exact,low-rank-sinkhorn]', 'budgets=[2]', 'outer=200'];
    const { figures, tables } = await run('unequal', {}, { set });
    const { columns, rows } = tables.transport!;
    for (const row of rows) expect(Number(row[columns.indexOf('rounded')])).toBeLessThan(1e-12);
    for (const method of ['rank 5 + 2 n', 'low-rank Sinkhorn 8']) {
      expect(figures[`excess files, ${method}`]).toBeGreaterThan(-1e-6);
    }
    expect(figures['excess files, rank 5 + 2 n']).toBeLessThan(0.05);
  },
  TIMEOUT_MS,
);

describe('plans of low rank + sparse', () => {
  const plan = fc
    .record({
      q: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 8, maxLength: 8 }),
      r: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 8, maxLength: 8 }),
      values: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 }),
    })
    .map(({ q, r, values }) => ({
      rank: 2,
      q: Float64Array.from(q),
      r: Float64Array.from(r),
      rows: Int32Array.of(0, 1, 3),
      columns: Int32Array.of(2, 1, 0),
      values: Float64Array.from(values),
    }));
  const uniform = new Float64Array(4).fill(0.25);

  it('are rounded to exact marginals, and stay >= 0', () => {
    fc.assert(
      fc.property(plan, (before) => {
        const after = roundToMarginals(before, uniform, uniform);
        expect(marginalResidual(after, uniform, uniform)).toBeLessThan(1e-12);
        for (const part of [after.q, after.r, after.values]) expect(Math.min(...part)).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it('cost what their full matrix costs', () => {
    const { x, y } = gaussians(4, 3, 1);
    fc.assert(
      fc.property(plan, (given) => {
        let expected = given.values.reduce(
          (sum, v, e) => sum + v * squaredDistance(x, given.rows[e]!, y, given.columns[e]!),
          0,
        );
        for (let i = 0; i < 4; i++) {
          for (let j = 0; j < 4; j++) {
            const mass = given.q[2 * i]! * given.r[2 * j]! + given.q[2 * i + 1]! * given.r[2 * j + 1]!;
            expected += mass * squaredDistance(x, i, y, j);
          }
        }
        expect(costOf(given, x, y)).toBeCloseTo(expected, 8);
      }),
    );
  });

  it('keep entries with mass and take the most negative candidates', () => {
    const support = {
      rows: Int32Array.of(0, 1, 0),
      columns: Int32Array.of(1, 1, 0),
      values: Float32Array.of(0, 0.5, 0),
      live: Float32Array.of(1, 1, 0),
    };
    const scan = {
      rowColumns: Int32Array.of(2, 0),
      rowCosts: Float32Array.of(-3, -1),
      columnRows: Int32Array.of(1, 1, 0),
      columnCosts: Float32Array.of(-1, -9, -3),
    };
    const chosen = chooseSupport(support, scan);
    expect([...chosen.rows].map((row, e) => [row, chosen.columns[e], chosen.values[e], chosen.live[e]])).toEqual([
      [0, 2, 0, 1],
      [1, 0, 0, 1],
      [1, 1, 0.5, 1],
    ]);
  });
});

describe('bad clouds', () => {
  async function refused(files: Record<string, string>, ...set: string[]) {
    const data = await mkdtemp(join(folder, 'bad-'));
    for (const [name, text] of Object.entries(files)) await writeFile(join(data, name), text);
    return expect(run(`${data}-out`, {}, { set: ['points=files', ...set], sample: false, data })).rejects;
  }

  it('names file, line and column', async () => {
    const good = '0\t1\n1\t2\n';
    const bad = (files: Record<string, string>, ...set: string[]) =>
      refused({ 'x.tsv': good, 'y.tsv': good, ...files }, ...set);
    await (await bad({ 'y.tsv': '0\t1\n1\n' })).toMatchObject({
      code: 'trainer/data',
      path: expect.stringMatching(/y\.tsv:2/),
    });
    await (await bad({ 'y.tsv': '0\tone\n' })).toMatchObject({ path: expect.stringMatching(/y\.tsv:1, column 2/) });
    await (await bad({ 'y.tsv': '0\n1\n' })).toMatchObject({ message: expect.stringMatching(/dimensions/) });
    await (await bad({ 'y.tsv': '' })).toMatchObject({ message: expect.stringMatching(/empty/) });
    await (await bad({ 'mass.tsv': '0.5\n0.4\n' }, 'xMass=mass.tsv')).toMatchObject({
      message: expect.stringMatching(/do not sum to one/),
      received: '0.9',
    });
    await (await bad({ 'mass.tsv': '1\n' }, 'yMass=mass.tsv')).toMatchObject({
      message: expect.stringMatching(/needs a mass/),
    });
  });
});
