/** The cost model: tables, rates, rooflines, collectives, fits, profiles; properties and known values. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { MerakError } from '../../../src/errors.js';
import { leastSide, nodeFlops } from '../../../src/graph/cost.js';
import type { Graph, Node } from '../../../src/graph/graph.js';
import { type KernelCall, kernelCall } from '../../../src/graph/kernelCall.js';
import { oneForwardOneBackward } from '../../../src/pipeline/oneForwardOneBackward.js';
import { simulate } from '../../../src/pipeline/simulate.js';
import type { Program } from '../../../src/plan/plan.js';
import { calibrateDevice } from '../../../src/planner/costs/calibrate.js';
import { CORE_SIZES, calibrationCalls } from '../../../src/planner/costs/calibrationCalls.js';
import { allGatherSeconds, allReduceSeconds, ringTransfer } from '../../../src/planner/costs/collectives.js';
import { ATTAINABLE, DATA_SHEETS, DEVICE_NAMES, deviceByName } from '../../../src/planner/costs/devices.js';
import { fitLink } from '../../../src/planner/costs/fitLink.js';
import { LINK_NAMES, LINKS, linkByName } from '../../../src/planner/costs/links.js';
import { rooflineCosts, timedCosts } from '../../../src/planner/costs/operatorCosts.js';
import { parseProfile } from '../../../src/planner/costs/profile.js';
import { readProfile } from '../../../src/planner/costs/profileFile.js';
import { programSeconds } from '../../../src/planner/costs/programSeconds.js';
import { flat, rateAt } from '../../../src/planner/costs/rates.js';

function failure(body: () => unknown): MerakError {
  try {
    body();
  } catch (error) {
    if (error instanceof MerakError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

function product(m: number, k: number, n: number): { graph: Graph; node: Node } {
  const node: Node = {
    kernel: 'BatchMatMul',
    inputs: [0, 1],
    inputNames: ['a', 'b'],
    outputs: [2],
    attrs: { transposeA: false, transposeB: false },
    scope: '',
  };
  const values = [
    [m, k],
    [k, n],
    [m, n],
  ].map((shape) => ({ shape, dtype: 'float32' as const, batchDim: -1 }));
  return {
    node,
    graph: { values, nodes: [node], inputs: [], parameters: [], constants: [], outputs: [], updates: [] },
  };
}

describe('tables', () => {
  it('hold what the data sheets say, each with its source', () => {
    expect(DEVICE_NAMES).toEqual(['rtx3090', 'a100-40', 'a100-80', 'h100', 'h200', 'b200', 'cpu']);
    for (const name of [
      'pcie3',
      'pcie4',
      'pcie5',
      'nvlink3',
      'nvlink4',
      'nvlink5',
      'ib100',
      'ib200',
      'ib400',
      'eth10',
      'eth100',
      'shm',
    ])
      expect(LINK_NAMES).toContain(name);
    for (const { source } of [...DATA_SHEETS, ...LINKS]) expect(source.length).toBeGreaterThan(10);
    for (const { peakFlops } of DATA_SHEETS) expect(peakFlops.bfloat16).toBeGreaterThan(peakFlops.float32);
    // 8 GT/s x 16 lanes, 128b/130b.
    expect(linkByName('pcie3').bytesPerSecond / 1e9).toBeCloseTo(15.75, 2);
    expect(linkByName('ib100').bytesPerSecond).toBe(12.5e9);
    expect(linkByName('nvlink4').bytesPerSecond).toBe(450e9);
  });

  it('unknown names list the known and guess', () => {
    const device = failure(() => deviceByName('rtx309'));
    expect([device.code, device.hint]).toEqual(['config/invalid', expect.stringContaining("'rtx3090'")]);
    expect(device.expected).toContain('h200');
    expect(failure(() => linkByName('ib99')).expected).toContain('nvlink5');
  });
});

describe('rates', () => {
  const curve = fc
    .array(fc.record({ step: fc.integer({ min: 2, max: 50 }), rate: fc.integer({ min: 1, max: 1000 }) }), {
      minLength: 1,
      maxLength: 6,
    })
    .map((steps) => {
      let size = 1;
      return steps.map(({ step, rate }) => {
        size *= step;
        return { size, rate };
      });
    });

  it('lie between their neighbours, on the points exactly', () => {
    fc.assert(
      fc.property(curve, fc.double({ min: 1, max: 1e9, noNaN: true }), (points, size) => {
        for (const point of points) expect(rateAt(points, point.size)).toBeCloseTo(point.rate, 9);
        const rates = points.map(({ rate }) => rate);
        const rate = rateAt(points, size);
        expect(rate).toBeGreaterThanOrEqual(Math.min(...rates) - 1e-9);
        expect(rate).toBeLessThanOrEqual(Math.max(...rates) + 1e-9);
      }),
    );
  });
});

describe('operators', () => {
  it('a large product runs at the attainable rate, a thin one at that of memory', () => {
    const costs = rooflineCosts(deviceByName('a100-80', 'bfloat16'));
    const large = product(8192, 8192, 8192);
    expect(costs.nodeSeconds(large.graph, large.node)).toBeCloseTo((2 * 8192 ** 3) / (312e12 * ATTAINABLE.product), 4);
    const thin = product(1, 8192, 8192);
    expect(costs.nodeSeconds(thin.graph, thin.node)).toBeCloseTo((4 * 8192 * 8194) / (2039e9 * ATTAINABLE.memory), 5);
  });

  it('never gets cheaper with size, nor cheaper than a launch', () => {
    const dim = fc.integer({ min: 1, max: 512 });
    fc.assert(
      fc.property(dim, dim, dim, fc.constantFrom(...DEVICE_NAMES), (m, k, n, name) => {
        const device = deviceByName(name);
        const seconds = (a: number, b: number, c: number) => {
          const { graph, node } = product(a, b, c);
          return rooflineCosts(device).nodeSeconds(graph, node);
        };
        expect(seconds(m, k, n)).toBeGreaterThan(device.launchSeconds);
        expect(seconds(m + 1, k, n)).toBeGreaterThanOrEqual(seconds(m, k, n));
        expect(seconds(m, k + 1, n)).toBeGreaterThanOrEqual(seconds(m, k, n));
      }),
    );
  });

  it('measures each distinct call once, and falls back where it cannot', () => {
    let numTimed = 0;
    const otherwise = { nodeSeconds: () => 7 };
    const costs = timedCosts((_, node) => (node.kernel === 'Exp' ? null : ++numTimed), otherwise);
    const [a, b] = [product(2, 3, 4), product(2, 3, 5)];
    expect([a, a, b, a].map(({ graph, node }) => costs.nodeSeconds(graph, node))).toEqual([1, 1, 2, 1]);
    expect(costs.nodeSeconds(a.graph, { ...a.node, kernel: 'Exp' })).toBe(7);
  });
});

describe('programs', () => {
  it('sum their calls; views are free, and so is adding to a gradient where it is made, but not by itself', () => {
    const value = (space: Program['values'][number]['space'], shape: number[]) => ({
      shape,
      dtype: 'float32' as const,
      space,
      offset: 0,
    });
    const { node } = product(4, 4, 4);
    const program: Program = {
      kind: 'backward',
      values: [value('saved', [4, 4]), value('parameters', [4, 4]), value('gradients', [4, 4]), value('scratch', [16])],
      nodes: [
        { ...node, attrs: { ...node.attrs, accumulate: true } },
        { kernel: 'Reshape', inputs: [2], inputNames: ['x'], outputs: [3], attrs: { shape: [16] }, scope: '' },
        {
          kernel: 'MerakAllReduce',
          inputs: [3],
          inputNames: ['x'],
          outputs: [3],
          attrs: { axis: 'tp', op: 'sum' },
          scope: '',
        },
      ],
    };
    const link = { name: 'x', latencySeconds: 1, bytesPerSecond: 8 };
    const operators = rooflineCosts(deviceByName('cpu'));
    const { graph, node: alone } = product(4, 4, 4);
    const bare = operators.nodeSeconds(graph, alone);
    expect(programSeconds(program, { operators, tensorLink: link, tensorRanks: 1 })).toBeCloseTo(bare, 12);
    // 64 bytes over 2 ranks: 2 rounds of 1 s + 32 / 8 s.
    expect(programSeconds(program, { operators, tensorLink: link, tensorRanks: 2 })).toBeCloseTo(bare + 10, 9);

    const own = { kernel: 'MerakAccumulate', inputs: [3], inputNames: ['x'], outputs: [4], attrs: {}, scope: '' };
    const apart = { ...program, values: [...program.values, value('gradients', [16])], nodes: [...program.nodes, own] };
    const sum = kernelCall('Add', { a: [16], b: [16] }, [[16]], {});
    expect(programSeconds(apart, { operators, tensorLink: link, tensorRanks: 1 })).toBeCloseTo(
      bare + operators.nodeSeconds(sum.graph, sum.node),
      12,
    );
  });
});

describe('collectives', () => {
  const link = { name: 'x', latencySeconds: 1e-5, bytesPerSecond: 1e9 };

  it('a ring moves 2 (n - 1) / n of the bytes; gathering is half of reducing', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 64 }), fc.integer({ min: 0, max: 1e9 }), (n, bytes) => {
        const seconds = allReduceSeconds(bytes, n, link);
        expect(seconds).toBeCloseTo(2 * (n - 1) * 1e-5 + (2 * (n - 1) * bytes) / n / 1e9, 9);
        expect(allGatherSeconds(bytes, n, link)).toBeCloseTo(seconds / 2, 12);
        expect(allReduceSeconds(bytes, 1, link)).toBe(0);
        // The same as a transfer of the simulator.
        const unit = { forward: 0, recompute: 0, inputGradient: 0, weightGradient: 0 };
        const { stepSeconds } = simulate({
          schedule: oneForwardOneBackward(1, 1),
          seconds: [unit],
          links: [link],
          collectives: [{ name: 'r', stages: [0], transfer: ringTransfer(bytes, n, [link], [0]) }],
        });
        expect(stepSeconds).toBeCloseTo(bytes === 0 ? stepSeconds : seconds, 9);
      }),
    );
  });

  it('the fit gets back latency and bandwidth', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1e-7, max: 1e-3, noNaN: true }),
        fc.double({ min: 1e6, max: 1e12, noNaN: true }),
        (latency, rate) => {
          const times = [4096, 1 << 16, 1 << 23].map((bytes) => ({ bytes, seconds: 2 * latency + bytes / rate }));
          const link = fitLink('x', times, 1, 2);
          expect(link.latencySeconds / latency).toBeCloseTo(1, 3);
          expect(link.bytesPerSecond / rate).toBeCloseTo(1, 6);
        },
      ),
    );
  });
});

describe('main memory', () => {
  it('delays what is read from parameters and twice what is added to gradients, where caches were measured', () => {
    const value = (space: Program['values'][number]['space'], offset: number) => {
      return { shape: [1024], dtype: 'float32' as const, space, offset };
    };
    const add = (spaces: readonly Program['values'][number]['space'][]): Program => ({
      kind: 'forward',
      values: spaces.map((space, index) => value(space, 4096 * index)),
      nodes: [{ kernel: 'Add', inputs: [0, 1], inputNames: ['a', 'b'], outputs: [2], attrs: {}, scope: '' }],
    });
    const device = deviceByName('cpu');
    const cached = [
      { size: 4096, rate: 4e9 },
      { size: 1 << 20, rate: 1e9 },
    ];
    const seconds = (spaces: Parameters<typeof add>[0], memoryBytesPerSecond = cached) => {
      const operators = rooflineCosts({ ...device, memoryBytesPerSecond });
      return programSeconds(add(spaces), { operators, tensorLink: linkByName('shm'), tensorRanks: 1 });
    };
    const miss = 4096 * (1 / 1e9 - 1 / 4e9);
    const plain = seconds(['scratch', 'scratch', 'scratch']);
    expect(seconds(['scratch', 'parameters', 'scratch'])).toBeCloseTo(plain + miss, 12);
    expect(seconds(['scratch', 'scratch', 'gradients'])).toBeCloseTo(plain + 2 * miss, 12);
    const flat = [{ size: 1, rate: 1e9 }];
    expect(seconds(['scratch', 'parameters', 'gradients'], flat)).toBe(
      seconds(['scratch', 'scratch', 'scratch'], flat),
    );
  });
});

describe('calibration', () => {
  const truth = deviceByName('rtx3090');
  const calls = calibrationCalls(CORE_SIZES);
  const MINE = { name: 'mine', memoryBytes: 1e9 };
  it('gets back the device that a stopwatch obeys, through a file', async () => {
    const roofline = rooflineCosts(truth);
    const knows = ({ node }: KernelCall) => !node.kernel.startsWith('Conv2D');
    const stopwatch = async (list: readonly KernelCall[]) =>
      list.map((call) => (knows(call) ? roofline.nodeSeconds(call.graph, call.node) : null));
    const measured = await calibrateDevice(stopwatch, calls, MINE);
    expect(measured.launchSeconds / truth.launchSeconds).toBeCloseTo(1, 2);
    expect(measured.productFlops.at(-1)!.rate / rateAt(truth.productFlops, 1)).toBeCloseTo(1, 1);
    expect(measured.memoryBytesPerSecond.at(-1)!.rate / rateAt(truth.memoryBytesPerSecond, 1)).toBeCloseTo(1, 1);
    expect(measured.kernelFlops).not.toHaveProperty('Conv2D');
    // A kernel with a rate of its own is priced by it, of any size that arithmetic limits.
    const own = measured.kernelFlops?.MerakAttention?.[0]?.rate ?? 0;
    const slower = rooflineCosts({ ...measured, kernelFlops: { BatchMatMul: flat(own / 2) } });
    const one = product(2048, 2048, 2048);
    expect(slower.nodeSeconds(one.graph, one.node)).toBeCloseTo(2 ** 34 / (own / 2) + measured.launchSeconds, 9);
    const profile = { version: 3, measuredAt: 'now', machine: 'm', threads: 1, device: measured } as const;
    expect(parseProfile(JSON.stringify(profile), 'p.json')).toEqual(profile);
  });

  it('knows products with a short side and convolutions of few channels to be slower', async () => {
    const slow = (call: KernelCall) => {
      const seconds = rooflineCosts(truth).nodeSeconds(call.graph, call.node);
      const side = leastSide(call.graph, call.node) ?? 768;
      return side < 768 && nodeFlops(call.graph, call.node) > 1e6 ? seconds * Math.sqrt(768 / side) : seconds;
    };
    const measured = await calibrateDevice(async (list) => list.map(slow), calls, MINE);
    const priced = rooflineCosts(measured);
    for (const [m, k, n] of [
      [48, 4096, 4096],
      [4096, 48, 4096],
      [4096, 4096, 48],
    ] as const) {
      const one = product(m, k, n);
      const arithmetic = priced.nodeSeconds(one.graph, one.node) - measured.launchSeconds;
      expect(
        (2 * 48 * 2 ** 24) / arithmetic / measured.thinProductFlops!.find(({ size }) => size === 48)!.rate,
      ).toBeCloseTo(1, 6);
    }
    const [few, many] = [measured.kernelFlops!.Conv2D!.at(0)!, measured.kernelFlops!.Conv2D!.at(-1)!];
    expect([few.size, many.size]).toEqual([3, 128]);
    expect(many.rate / few.rate).toBeGreaterThan(2);
  });

  it('a profile of an earlier version stops no run', () => {
    const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const file = join(mkdtempSync(join(tmpdir(), 'merak-test-')), 'profile.json');
    writeFileSync(file, JSON.stringify({ version: 2, device: {} }, null, 2));
    expect(readProfile(file)).toBeUndefined();
    expect(String(said.mock.calls[0]?.[0])).toContain('version 2');
    writeFileSync(file, '{}');
    expect(failure(() => readProfile(file)).path).toContain(file);
    said.mockRestore();
  });

  it('a bad profile names the key', () => {
    expect(failure(() => parseProfile('{', 'p.json')).path).toBe('p.json');
    const bad = { version: 3, measuredAt: '', machine: '', threads: 0, device: {} };
    const error = failure(() => parseProfile(JSON.stringify(bad), 'p.json'));
    expect([error.code, error.path]).toEqual(['config/invalid', 'p.json: threads']);
  });
});
