/** The recipe on generated graphs: it matches them, alike on one worker and on two, after a kill too; bad graphs are refused. */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { setLaunchContext } from '../../src/config/launch.js';
import type { OptionsInput } from '../../src/config/schema.js';
import { spmd } from '../../src/index.js';
import { type TrainSettings, train } from '../../src/launcher/train.js';
import { edgeList } from '../../src/trainers/readers/edges.js';
import { config } from '../../src/trainers/sigma/config.js';
import { generatePair } from '../../src/trainers/sigma/generate.js';
import { openMatcher } from '../../src/trainers/sigma/matcher.js';
import { edgeOverlap, nodeCorrectness } from '../../src/trainers/sigma/score.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-sigma-'));
});
afterEach(() => setLaunchContext(undefined));
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const FILES = ['graphs=files', 'truth=truth.tsv', 'hops=[1,2]', 'iterations=20'];

function run(out: string, flags: OptionsInput = {}, more: Partial<TrainSettings> = {}) {
  const settings = { set: FILES, sample: true, out: join(folder, out), quiet: true, ...more };
  return train('sigma', settings, { logDir: join(folder, 'logs'), ...flags });
}

it('solves its sample, the same on two workers', async () => {
  const { figures } = await run('alone');
  expect(figures['overlap K=1']).toBe(1);
  expect(figures['correctness K=1']).toBeGreaterThan(figures['correctness degree']!);
  expect(await readdir(join(folder, 'alone'))).toEqual(
    expect.arrayContaining(['matching.md', 'inconsistency.svg', 'correctness.svg', 'objective.svg', 'matchings']),
  );
  expect((await readFile(join(folder, 'alone/matchings/files.tsv'), 'utf8')).trim().split('\n')).toHaveLength(60);
  const { figures: parallel } = await run('two', { workers: 2 });
  for (const [name, value] of Object.entries(figures)) expect(parallel[name]).toBeCloseTo(value, 6);
});

it('generated graphs: noise is what it says', () => {
  const options = { model: 'erdos-renyi', nodes: 100, meanDegree: 6, noise: 0.2, seed: 3 } as const;
  const { source, target, truth } = generatePair(options);
  expect(target.from.length).toBe(source.from.length);
  expect(edgeOverlap(truth!, source, target)).toBeCloseTo(0.9, 2);
  expect(nodeCorrectness(truth!, truth!)).toBe(1);
  expect(generatePair(options).target.from).toEqual(target.from);
});

describe('against the definition', () => {
  it('inconsistency is sum (Psi - Phi)^2 T, and mirror descent lowers the objective', async () => {
    const source = edgeList(5, [[0, 1], [1, 2], [2, 3], [3, 4], [1, 4]]); // biome-ignore format: a graph reads best in a line
    const target = edgeList(6, [[0, 1], [1, 2], [2, 5], [3, 5], [1, 4]]); // biome-ignore format: likewise
    const group = await spmd({ workers: 2 });
    const settings = config.parse({ hops: [2], sinkhornIterations: 50 });
    const matcher = openMatcher(group, { sourceNodes: 5, targetNodes: 6, maxMatrices: 2 }, settings);
    await matcher.load({ source, target }, 2);
    const [psi, phi] = [matricesOf(source), matricesOf(target)];
    const found = await matcher.inconsistency();
    for (let i = 0; i < 5; i++) {
      for (let j = 0; j < 6; j++) {
        let expected = 0;
        for (let k = 0; k < 2; k++) {
          for (let s = 0; s < 5; s++) {
            for (let t = 0; t < 6; t++) expected += (0.5 * (psi[k]![i]![s]! - phi[k]![j]![t]!) ** 2) / 30;
          }
        }
        expect(found[i * 6 + j]).toBeCloseTo(expected, 5);
      }
    }
    const objectives: number[] = [];
    for (let i = 0; i < 8; i++) objectives.push((await matcher.step()).objective);
    expect(objectives.at(-1)).toBeLessThan(objectives[0]!);
    await group.close();
  });

  /** Adjacency and the second power of the normalised adjacency, each of mean square 1. */
  function matricesOf({ numNodes: n, from, to }: ReturnType<typeof edgeList>): number[][][] {
    const adjacency = Array.from({ length: n }, () => new Array<number>(n).fill(0));
    for (const [e, a] of from.entries()) {
      adjacency[a]![to[e]!] = 1;
      adjacency[to[e]!]![a] = 1;
    }
    const degree = adjacency.map((row) => row.reduce((x, y) => x + y, 0));
    const normal = adjacency.map((row, i) => row.map((x, j) => x / Math.sqrt(Math.max(1, degree[i]! * degree[j]!))));
    const square = normal.map((row) => row.map((_, j) => row.reduce((sum, x, s) => sum + x * normal[s]![j]!, 0)));
    return [adjacency, square].map((matrix) => {
      const mean = matrix.flat().reduce((sum, x) => sum + x * x, 0) / (n * n);
      return matrix.map((row) => row.map((x) => x / Math.sqrt(mean)));
    });
  }
});

describe('bad graphs', () => {
  async function refused(source: string, target: string, ...set: string[]) {
    const data = await mkdtemp(join(folder, 'bad-'));
    await writeFile(join(data, 'source.tsv'), source);
    await writeFile(join(data, 'target.tsv'), target);
    const settings = { set: ['graphs=files', ...set], sample: false, data };
    return expect(run(`${data}-out`, {}, settings)).rejects;
  }

  it('names file and line', async () => {
    const good = '0\t1\n1\t2\n';
    await (await refused('0\t1\n1\tx\n', good)).toMatchObject({ path: expect.stringMatching(/source\.tsv:2$/) });
    await (await refused('0\t1\n1\t1\n', good)).toMatchObject({ path: expect.stringMatching(/source\.tsv:2$/) });
    await (await refused('# nothing\n', good)).toMatchObject({ message: expect.stringMatching(/no edges/) });
    await (await refused(good, '0\t1\n2\t3\n')).toMatchObject({ message: expect.stringMatching(/disconnected/) });
    await (await refused('0\t1\n1\t2\n2\t3\n', good)).toMatchObject({ message: expect.stringMatching(/more nodes/) });
  });

  it('refuses a matching that does not fit before it allocates anything, with the forecast', async () => {
    // A ring of 100,000 nodes: read in full, but its plan alone is 40 GB.
    const size = 100_000;
    const ring = `${Array.from({ length: size }, (_, i) => `${i}\t${(i + 1) % size}`).join('\n')}\n`;
    await (await refused(ring, ring, 'hops=[1]', 'baselines=[degree]')).toMatchObject({
      code: 'plan/out-of-memory',
      received: expect.stringMatching(/logPlan|source0|target0/),
    });
  });
});

it.each([1, 3])('10,000 nodes and %i structure matrices are forecast to fit 24 GB', async (numMatrices) => {
  const nodes = 10_000;
  const pair = generatePair({ model: 'barabasi-albert', nodes, meanDegree: 6, noise: 0, seed: 1 });
  const group = await spmd({ workers: 2, memoryLimit: 1 });
  const options = { sourceNodes: nodes, targetNodes: nodes, maxMatrices: numMatrices };
  const matcher = openMatcher(group, options, config.parse({ hops: [numMatrices] }));
  const needs: number[] = [];
  for (const call of [() => matcher.load(pair, numMatrices), () => matcher.step()]) {
    const { code, received } = await call().catch((error) => error);
    expect(code).toBe('plan/out-of-memory');
    needs.push(Number(/\((\d+) bytes\)/.exec(received)![1]));
  }
  await group.close();
  // A worker's half of the plan and of the source's matrices, the whole of the target's, and at least a whole plan to compute in.
  expect(Math.max(...needs)).toBeGreaterThan(4 * nodes ** 2 * (0.5 + 1.5 * numMatrices + 1));
  expect(2 * Math.max(...needs)).toBeLessThan(24e9);
});

const ARENAS = join(import.meta.dirname, '../../../shared/data/graphs-arenas');

it('solves the arenas e-mail graph: every edge lies on an edge', async (context) => {
  if (!existsSync(ARENAS)) {
    console.warn(`skipped: no ${ARENAS} (github.com/GemsLab/REGAL; docs/trainers/sigma.md says how to get it)`);
    context.skip();
  }
  const set = ['graphs=files', 'source=arenas-a.tsv', 'target=arenas-b.tsv', 'truth=arenas-truth.tsv'];
  const more = ['allowDisconnected=true', 'hops=[1]', 'iterations=10', 'reportAt=[10]', 'baselines=[degree]'];
  const { figures } = await run('arenas', { workers: 2 }, { set: [...set, ...more], sample: false, data: ARENAS });
  expect(figures['overlap K=1']).toBe(1);
  expect(figures['correctness K=1']).toBeGreaterThan(0.95);
}, 120_000);
