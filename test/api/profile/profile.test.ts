/** A profiled run: traces of every rank that nest and account for the step, and results as without. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import type { ProfileData } from '../../../src/api/profile/profiler.js';
import * as merak from '../../../src/index.js';
import { withProfileFolder } from '../../../src/launcher/flags.js';
import type { ChromeTrace, TraceEvent } from '../../../src/pipeline/chromeTrace.js';

interface Run {
  readonly losses: readonly number[];
  readonly profile?: ProfileData;
}

const folder = mkdtempSync(join(tmpdir(), 'merak-profile-'));
const NUM_STEPS = 12;
const PROGRAMS = ['forward', 'backward', 'recompute', 'weights'];

async function train(name: string, options: merak.WrapOptions): Promise<Run> {
  const report = join(folder, `${name}.json`);
  const contextLength = 32;
  const model = merak.models.gpt({
    vocabularySize: 64,
    contextLength,
    numLayers: 2,
    numHeads: 2,
    hiddenSize: 64,
    seed: 1,
  });
  const bytes = Uint8Array.from({ length: 4096 }, (_, i) => (i * 31 + ((i * i) >> 5)) & 63);
  const parallel = await merak.wrap(model, {
    optimizer: tf.train.adam(1e-3),
    device: 'native',
    threadsPerWorker: 1,
    logDir: folder,
    report,
    ...options,
  });
  await parallel.fitDataset(
    merak.data.tokenWindows(bytes, { contextLength, batchSize: 4, numBatches: NUM_STEPS, seed: 1 }),
    { verbose: 0 },
  );
  await parallel.close();
  model.dispose();
  return JSON.parse(readFileSync(report, 'utf8'));
}

type Complete = TraceEvent & { readonly ts: number; readonly dur: number };

function spansOf(file: string): Complete[] {
  const { traceEvents }: ChromeTrace = JSON.parse(readFileSync(file, 'utf8'));
  return traceEvents.filter((event): event is Complete => event.ph === 'X');
}

/** Each span lies wholly in, or wholly outside of, every other of its row. */
function expectNested(spans: readonly Complete[]): void {
  const open: Complete[] = [];
  for (const span of spans) {
    const { ts, dur } = span;
    expect(ts).toBeGreaterThanOrEqual(0);
    expect(dur).toBeGreaterThanOrEqual(0);
    while (open.length > 0 && end(open.at(-1)!) <= ts) open.pop();
    if (open.length > 0)
      expect(end(span), `${span.name} in ${open.at(-1)!.name}`).toBeLessThanOrEqual(end(open.at(-1)!));
    open.push(span);
  }
}

/** Nanoseconds are whole; their sum in microseconds need not be. */
const end = ({ ts, dur }: Complete): number => Math.round((ts + dur) * 1000) / 1000;

const sum = (spans: readonly Complete[]): number => spans.reduce((total, { dur }) => total + dur, 0);

describe.each([
  ['dp2', { dp: 2 }],
  ['pp2', { pp: 2, microBatches: 4 }],
  ['alone', { dp: 1 }],
] as const)('%s', (name, layout) => {
  let plain: Run;
  let profiled: Run;
  let traces: Complete[][];
  const printed: string[] = [];

  beforeAll(async () => {
    plain = await train(`${name}-plain`, layout);
    const write = vi.spyOn(process.stderr, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
    profiled = await train(name, { ...layout, profile: join(folder, 'deep', name) });
    write.mockRestore();
    traces = profiled.profile!.traces.map(spansOf);
  });

  it('changes no result', () => {
    expect(profiled.losses).toHaveLength(NUM_STEPS);
    expect(profiled.losses).toEqual(plain.losses);
  });

  it('has a trace of every rank with the last ten steps', () => {
    expect(traces).toHaveLength(name === 'alone' ? 1 : 2);
    for (const [rank, spans] of traces.entries()) {
      expect(new Set(spans.map(({ pid }) => pid))).toEqual(new Set([rank]));
      const steps = spans.filter(({ cat }) => cat === 'step').map((span) => span.name);
      expect(steps).toEqual(Array.from({ length: 10 }, (_, i) => `step ${NUM_STEPS - 10 + i}`));
    }
  });

  it('nests', () => {
    for (const spans of traces) for (const row of [0, 1]) expectNested(spans.filter(({ tid }) => tid === row));
  });

  // How large the share is depends on who else wants the core; that nothing is counted twice does not.
  it('accounts for the step', () => {
    const shares = traces.flatMap((spans) =>
      spans
        .filter(({ cat }) => cat === 'step')
        .map((step) => {
          const within = spans.filter((span) => span.tid === 0 && span.ts >= step.ts && end(span) <= end(step));
          const instructions = within.filter(({ cat }) => cat === 'instruction');
          const programs = instructions.filter(({ name: label }) =>
            /^(forward|backward|recompute|weights) /.test(label),
          );
          const operations = within.filter(({ cat = '' }) => PROGRAMS.includes(cat));
          expect(sum(operations)).toBeLessThanOrEqual(sum(programs) * (1 + 1e-9));
          expect(sum(instructions)).toBeLessThanOrEqual(step.dur * (1 + 1e-9));
          return (sum(operations) + sum(instructions) - sum(programs)) / step.dur;
        }),
    );
    expect(shares).toHaveLength(10 * traces.length);
    for (const share of shares) {
      expect(share).toBeGreaterThan(0);
      expect(share).toBeLessThanOrEqual(1 + 1e-9);
    }
  });

  it('names kernels, layers and shapes', () => {
    const products = traces.flat().filter((span) => span.name === 'BatchMatMul' || span.name === '_FusedMatMul');
    expect(products.length).toBeGreaterThan(0);
    expect(products.every(({ args }) => Number(args?.flops) > 0)).toBe(true);
    expect(products.some(({ args }) => String(args?.shapes).includes('->'))).toBe(true);
    expect(new Set(products.map(({ args }) => args?.layer))).toContain('gpt/block0/expand/weight');
    const all = profiled.profile!.operations;
    const share = all.reduce((total, one) => total + one.share, 0);
    expect(share + profiled.profile!.otherShare).toBeCloseTo(1, 9);
    const text = printed.join('');
    expect(text).toContain(all[0]!.name);
    expect(text).toContain('GFLOP/s');
    expect(text).toContain('ui.perfetto.dev');
  });

  it('shows what ranks exchange', () => {
    const exchanges = traces.flat().filter(({ cat }) => cat === 'exchange');
    const names = new Set(exchanges.map((span) => span.name));
    if (name === 'dp2') expect(names).toContain('all-reduce');
    if (name === 'pp2') expect([...names]).toEqual(expect.arrayContaining(['send', 'receive']));
    if (name === 'alone') expect(names.size).toBe(0);
    const { overlap } = profiled.profile!;
    expect(overlap.numBegunBefore).toBeLessThanOrEqual(overlap.numStarted);
    expect(overlap.hiddenSeconds).toBeLessThanOrEqual(overlap.exchangeSeconds * (1 + 1e-9));
    expect(overlap.hiddenSeconds).toBeGreaterThanOrEqual(-1e-9);
  });
});

describe('refusals', () => {
  it('a folder that cannot be made, before anything starts', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    await expect(train('refused', { dp: 2, profile: join(file, 'below') })).rejects.toMatchObject({
      code: 'config/invalid',
      path: expect.stringContaining('--profile'),
    });
  });

  it('a device that records nothing', async () => {
    await expect(train('tfjs', { dp: 1, device: 'tfjs', profile: join(folder, 'tfjs') })).rejects.toMatchObject({
      code: 'config/invalid',
      expected: '--device native',
    });
  });
});

it.each([
  [
    ['launch', '--profile', 'train.ts'],
    ['launch', '--profile=runs/profile', 'train.ts'],
  ],
  [
    ['launch', 'train.ts', '--profile'],
    ['launch', 'train.ts', '--profile=runs/profile'],
  ],
  [
    ['launch', '--profile', '--dp', '2', 'a.mjs'],
    ['launch', '--profile=runs/profile', '--dp', '2', 'a.mjs'],
  ],
  [
    ['launch', '--profile', 'out', 'train.ts'],
    ['launch', '--profile', 'out', 'train.ts'],
  ],
  [
    ['launch', '--profile=out', 'train.ts'],
    ['launch', '--profile=out', 'train.ts'],
  ],
  [
    ['launch', 'train.ts', '--', '--profile'],
    ['launch', 'train.ts', '--', '--profile'],
  ],
])('the folder may be left out: %j', (argv, expected) => {
  expect(withProfileFolder(argv)).toEqual(expected);
});
