/**
 * `merak profile` on a card and plans that are priced by it. On the stand-in card the figures mean nothing; what is shown is their way: into
 * the file, and from there into plans.
 */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { planModel } from '../../src/api/planning.js';
import { parseOptions } from '../../src/config/parse.js';
import * as merak from '../../src/index.js';
import { main } from '../../src/launcher/main.js';
import { profile } from '../../src/launcher/profile.js';
import type { CardMeasurement } from '../../src/launcher/profileCards.js';
import { CARD_SIZES, type CalibrationSizes, calibrationCalls } from '../../src/planner/costs/calibrationCalls.js';
import { deviceByName } from '../../src/planner/costs/devices.js';
import { callsInPrecision } from '../../src/planner/costs/inPrecision.js';
import { type Profile, parseProfile } from '../../src/planner/costs/profile.js';
import { gpuCluster } from '../../src/planner/search/gpuCluster.js';
import { findGpus } from '../../src/runtime/native/gpus.js';
import { GPT } from '../layouts/training.js';
import { useStandIns } from './card.js';

useStandIns();
process.env.MERAK_STANDIN_DEVICES = '2';
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const SIZES: CalibrationSizes = {
  productSides: [16, 48],
  thinSides: [8],
  thinWidth: 32,
  vectorLengths: [1 << 8, 1 << 10],
  arithmeticLength: 1 << 8,
  attention: [1, 16, 2, 16],
  images: 1,
  convolutions: [[6, 3, 8]],
};
const QUICK: CardMeasurement = { sizes: SIZES, rotatedBytes: 1 << 14, mostRuns: 2, linkBytes: [1 << 8, 1 << 12] };
const file = join(mkdtempSync(join(tmpdir(), 'merak-profile-')), 'profile.json');
const PROCESSOR: Profile = {
  version: 3,
  measuredAt: '2026-01-02T03:04:05.000Z',
  machine: 'a processor',
  threads: 1,
  device: deviceByName('cpu'),
};

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

describe('merak profile --device cuda', () => {
  const printed: string[] = [];
  let written: Profile;
  beforeAll(async () => {
    writeFileSync(file, JSON.stringify(PROCESSOR));
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
    await profile({ threads: 1, device: 'cuda', report: file }, QUICK);
    written = parseProfile(readFileSync(file, 'utf8'), file);
  });

  it('keeps what is known of the processor and adds the card by its name', () => {
    const { cards, ...processor } = written;
    expect(processor).toEqual(PROCESSOR);
    expect(Object.keys(cards!)).toEqual([...new Set(findGpus().map(({ name }) => name))]);
    expect(printed.join('')).toContain(findGpus()[0]!.name);
    expect(printed.join('')).not.toContain('a processor');
  });

  it('measures every kernel in every precision, the host, and what joins ranks on one card and on two', () => {
    const card = written.cards![findGpus()[0]!.name]!;
    // Cards make chains of what batch norm is one kernel of on the processor.
    const calls = calibrationCalls(SIZES).kernels.filter(({ node }) => !node.kernel.startsWith('MerakBatchNorm'));
    const kernels = new Set(calls.map(({ node }) => node.kernel));
    for (const device of [card.f32, card.tf32, card.bf16]) {
      expect(new Set(Object.keys(device.kernelFlops!))).toEqual(kernels);
      expect(device.productFlops).toHaveLength(2);
      expect(device.memoryBytes).toBe(findGpus()[0]!.totalBytes);
    }
    for (const link of [card.sharedLinks!.messages, card.sharedLinks!.allReduce]) {
      expect(link.bytesPerSecond).toBeGreaterThan(0);
    }
    if (findGpus().length > 1) expect(card.ownLinks!.allReduce.name).toBe('NCCL, all-reduce');
  });

  it('is what plans for the card are priced by', () => {
    const model = merak.models.gpt({ ...GPT, numLayers: 1 });
    const fields = ['tokens', 'targets'].map((name) => ({ name, shape: [GPT.contextLength], dtype: 'int32' as const }));
    const explained = (path: string, given: Parameters<typeof parseOptions>[0]) => {
      vi.stubEnv('MERAK_PROFILE', path);
      const options = parseOptions({ device: 'cuda', ...given }, 'test');
      return planModel(model, { fields, batchSize: 8 }, options, { kind: 'sgd' }).explain();
    };
    const card = findGpus()[0]!.name;
    const measured = `x ${card} (its profile of ${written.cards![card]!.measuredAt.slice(0, 10)})`;
    // Searched, and with nothing left to search.
    expect(explained(file, { workers: 2 })).toContain(measured);
    expect(explained(file, { workers: 1 })).toContain(measured);
    expect(explained('/nowhere', { workers: 2 })).toMatch(/data sheet.*merak profile --device cuda/);
    model.dispose();
  });
});

it('refuses a device that it cannot measure', async () => {
  const complaints: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => complaints.push(String(text)) > 0);
  expect(await main(['node', 'merak', 'profile', '--device', 'tpu'])).toBe(1);
  expect(complaints.join('')).toContain('tpu');
});

describe('calls in a precision', () => {
  const calls = calibrationCalls(CARD_SIZES);
  it.each(['bf16', 'f16'] as const)(
    '%s: operands and activations in 16 bits, gradients of weights in 32',
    (precision) => {
      const [forward, , weights] = callsInPrecision(calls, precision).products[0]!;
      const stored = (call: typeof forward) => call!.graph.values.map(({ storedAs }) => storedAs ?? 'float32');
      const narrow = precision === 'bf16' ? 'bfloat16' : 'float16';
      expect(stored(forward)).toEqual([narrow, narrow, narrow]);
      expect(stored(weights)).toEqual([narrow, narrow, 'float32']);
      expect(forward!.node.attrs.precision).toBe(precision);
    },
  );

  it('tf32 is marked on products, float32 leaves all as it is', () => {
    expect(callsInPrecision(calls, 'tf32').products[0]![0]!.node.attrs.precision).toBe('tf32');
    expect(callsInPrecision(calls, 'f32').products).toEqual(calls.products);
  });
});

describe('the cards of this machine as a cluster', () => {
  const base = { workers: 4, numGpus: 2, nccl: () => 5e8, memoryBytes: 1e9, precision: 'bf16' } as const;
  const named = (name: string, capability: number) => gpuCluster({ ...base, card: { name, capability } });

  it('ranks that share cards take turns on them; ranks with a card each do not', () => {
    const card = { name: 'NVIDIA H200', capability: 90 };
    expect(gpuCluster({ ...base, card })).toMatchObject({ numProcessors: 2, transfers: 'receiver' });
    const own = gpuCluster({ ...base, workers: 2, card });
    expect(own.numProcessors).toBeUndefined();
    expect([own.communicatorBytes, gpuCluster({ ...base, card }).communicatorBytes]).toEqual([base.nccl, undefined]);
    expect(own).toMatchObject({ transfers: 'background', hostLink: { name: 'nvlink4' } });
    expect(gpuCluster({ ...base, workers: 2, card, nccl: undefined }).transfers).toBe('receiver');
  });

  it.each([
    ['NVIDIA H200', 90, 'h200', 'its data sheet'],
    ['NVIDIA A100-SXM4-40GB', 80, 'a100-40', 'its data sheet'],
    ['NVIDIA A100-SXM4-80GB', 80, 'a100-80', 'its data sheet'],
    ['NVIDIA GeForce RTX 3090', 86, 'rtx3090', 'its data sheet'],
    ['NVIDIA L40S', 89, 'rtx3090', 'the data sheet of rtx3090'],
    ['NVIDIA GB300', 103, 'b200', 'the data sheet of b200'],
  ])('%s is priced by a data sheet that the plan names', (name, capability, sheet, said) => {
    const { device, name: text } = named(name, capability);
    expect(device.productFlops).toEqual(deviceByName(sheet, 'bfloat16').productFlops);
    expect(text).toContain(said);
  });

  it('a plan without a card is for an H100', () => {
    const { device, name } = gpuCluster({ ...base, card: undefined });
    expect(device.name).toBe('h100');
    expect(name).toContain('none being here');
  });
});
