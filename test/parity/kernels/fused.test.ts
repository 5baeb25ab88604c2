/** Merak's fused kernels against their tfjs composites (src/kernels). */
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { setRandomContext } from '../../../src/kernels/randomContext.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import { loadAddon } from '../../../src/runtime/native/addon.js';
import { runs } from '../cases.js';
import { expectClose, expectParity, type Input, runNative, runReference, useReferenceBackend } from '../compare.js';
import { floats, integers, seeded } from './draw.js';

beforeAll(async () => {
  await useReferenceBackend();
  ensureKernels('cpu');
});

const TOLERANCE = { relative: 2e-5, absolute: 5e-6 };

/** A kernel with its outputs renamed to inputs of the next. */
function outputsOf(kernel: string, inputs: readonly Input[], attrs: object, names: readonly string[]): Input[] {
  return runReference(kernel, inputs, attrs).map((outcome, i) => ({ ...outcome, name: names[i] ?? '' }));
}

test('attention and its gradient, causal or not, with or without a mask', () => {
  fc.assert(
    fc.property(
      fc.record({
        batch: fc.integer({ min: 1, max: 2 }),
        numQueries: fc.constantFrom(1, 3, 16, 49, 100),
        extraKeys: fc.constantFrom(0, 0, 5),
        numHeads: fc.integer({ min: 1, max: 3 }),
        depth: fc.constantFrom(1, 8, 13, 16, 32, 40, 64),
        causal: fc.boolean(),
        masked: fc.boolean(),
        seed: fc.nat(),
      }),
      ({ batch, numQueries, extraKeys, numHeads, depth, causal, masked, seed }) => {
        const random = seeded(seed);
        const numKeys = numQueries + extraKeys;
        const q = floats('q', [batch, numQueries, numHeads, depth], random, 2);
        const k = floats('k', [batch, numKeys, numHeads, depth], random, 2);
        const v = floats('v', [batch, numKeys, numHeads, depth], random);
        const mask = integers('mask', [batch, numKeys], random, 0, 2);
        // The composite's log-sum-exp of a fully masked row is -1e30 and not -infinity: keep the first key.
        for (let b = 0; b < batch; b++) mask.data[b * numKeys] = 1;
        const attrs = { causal, scale: 1 / Math.sqrt(depth) };
        const optional = masked ? [mask] : [];
        expectParity('MerakAttention', [q, k, v, ...optional], attrs, { tolerance: TOLERANCE });
        const forward = outputsOf('MerakAttention', [q, k, v, ...optional], attrs, ['out', 'logsumexp']);
        const dy = floats('dy', q.shape, random);
        expectParity('MerakAttentionGrad', [dy, q, k, v, ...forward, ...optional], attrs, { tolerance: TOLERANCE });
      },
    ),
    runs(40),
  );
});

test('a fully masked row gives 0, log-sum-exp -infinity and no gradient', () => {
  const random = seeded(9);
  const shape = [1, 4, 2, 8];
  const [q, k, v, dy] = ['q', 'k', 'v', 'dy'].map((name) => floats(name, shape, random)) as [
    Input,
    Input,
    Input,
    Input,
  ];
  const mask: Input = { name: 'mask', shape: [1, 4], dtype: 'int32', data: new Int32Array(4) };
  const attrs = { causal: true, scale: 0.5 };
  const out = { shape, dtype: 'float32' as const };
  const lse = { shape: [1, 2, 4], dtype: 'float32' as const };
  const [y, logsumexp] = runNative('MerakAttention', [q, k, v, mask], attrs, [out, lse]);
  expect(y?.every((value) => value === 0)).toBe(true);
  expect(logsumexp?.every((value) => value === -Infinity)).toBe(true);
  const saved: Input[] = [
    { name: 'out', ...out, data: y ?? new Float32Array() },
    { name: 'logsumexp', ...lse, data: logsumexp ?? new Float32Array() },
  ];
  const gradients = runNative('MerakAttentionGrad', [dy, q, k, v, ...saved, mask], attrs, [out, out, out]);
  for (const gradient of gradients) expect(gradient.every((value) => value === 0)).toBe(true);
});

test('layer normalisation and its gradient', () => {
  const random = seeded(3);
  for (const shape of [
    [1, 1],
    [7, 5],
    [3, 4, 33],
    [70, 128],
    [2, 300],
  ]) {
    const width = shape[shape.length - 1] ?? 1;
    const x = floats('x', shape, random, 3);
    const gamma = floats('gamma', [width], random);
    const beta = floats('beta', [width], random);
    expectParity('MerakLayerNorm', [x, gamma, beta], { epsilon: 1e-5 }, { tolerance: TOLERANCE });
    const [, mean, rstd] = outputsOf('MerakLayerNorm', [x, gamma, beta], { epsilon: 1e-5 }, ['y', 'mean', 'rstd']);
    if (width === 1) continue; // dx is 0 but for rounding, times rstd 300
    const inputs = [floats('dy', shape, random), x, gamma, mean as Input, rstd as Input];
    expectParity('MerakLayerNormGrad', inputs, {}, { tolerance: { relative: 2e-5, absolute: 3e-5 } });
  }
});

test('batch norm and its gradient, with or without what follows it, over all ways to cut it into blocks', () => {
  fc.assert(
    fc.property(
      fc.record({
        shape: fc.constantFrom(
          [1, 1],
          [2, 3],
          [5, 37],
          [7, 3, 3, 1],
          [2, 33, 31, 16],
          [4, 9, 65],
          [3, 700],
          [40, 1025],
          [2, 0, 4],
          [2, 0],
        ),
        offset: fc.constantFrom(0, 0, 30),
        activation: fc.constantFrom('linear', 'relu'),
        residual: fc.boolean(),
        seed: fc.nat(),
      }),
      ({ shape, offset, activation, residual, seed }) => {
        const random = seeded(seed);
        const channels = shape.slice(-1);
        const x = floats('x', shape, random, 2);
        for (let i = 0; i < x.data.length; i++) x.data[i]! += offset;
        const [gamma, beta] = [floats('gamma', channels, random), floats('beta', channels, random)];
        const inputs = [x, gamma, beta, ...(residual ? [floats('residual', shape, random)] : [])];
        const attrs = { epsilon: 0.1, activation, residual };
        // Both round the mean: an offset costs digits.
        const tolerance = { relative: 5e-5, absolute: offset === 0 ? 2e-5 : 1e-3 };
        if (x.data.length === 0) {
          const empty = { shape, dtype: 'float32' as const };
          expect(runNative('MerakBatchNorm', inputs, attrs, [empty, gamma, gamma])[0]).toHaveLength(0);
          return;
        }
        expectParity('MerakBatchNorm', inputs, attrs, { tolerance });
        const [y, mean, variance] = outputsOf('MerakBatchNorm', inputs, attrs, ['y', 'mean', 'variance']) as Input[];
        const more = activation === 'relu' ? [y!] : [];
        const given = [floats('dy', shape, random), x, gamma, mean!, variance!, ...more];
        // Sums over many rows, in another order.
        const rows = x.data.length / channels[0]!;
        expectParity('MerakBatchNormGrad', given, attrs, {
          tolerance: { ...tolerance, absolute: tolerance.absolute * Math.sqrt(rows) },
        });
      },
    ),
    runs(60),
  );
});

test('batch norm keeps its digits far from zero, and the same bits with any number of threads', () => {
  const random = seeded(8);
  const x = floats('x', [6, 40, 40, 8], random);
  for (let i = 0; i < x.data.length; i++) x.data[i] = 1000 + x.data[i]!;
  const row = { shape: [8], dtype: 'float32' as const };
  const attrs = { epsilon: 0, activation: 'linear', residual: false };
  const [gamma, beta] = [floats('gamma', [8], random), floats('beta', [8], random)];
  const run = (threads: number) => {
    loadAddon().setThreads(threads);
    const forward = runNative('MerakBatchNorm', [x, gamma, beta], attrs, [x, row, row]);
    const [mean, variance] = ['mean', 'variance'].map((name, k): Input => ({ name, ...row, data: forward[k + 1]! }));
    const backward = runNative('MerakBatchNormGrad', [{ ...x, name: 'dy' }, x, gamma, mean!, variance!], attrs, [
      x,
      row,
      row,
    ]);
    return [...forward, ...backward];
  };
  const one = run(1);
  expect(run(3)).toEqual(one);
  loadAddon().setThreads(loadAddon().info().maxThreads);
  for (let c = 0; c < 8; c++) {
    const own = Array.from(x.data as Float32Array).filter((_, i) => i % 8 === c);
    const mean = own.reduce((a, b) => a + b, 0) / own.length;
    const variance = own.reduce((a, b) => a + (b - mean) ** 2, 0) / own.length;
    expect(one[1]![c]).toBeCloseTo(mean, 3);
    expect(one[2]![c]! / variance).toBeCloseTo(1, 5);
  }
});

test('gelu and its gradient', () => {
  const random = seeded(4);
  for (const approximate of ['tanh', 'none']) {
    const x = floats('x', [37, 29], random, 6);
    const tolerance = { relative: 1e-5, absolute: 2e-6 };
    expectParity('MerakGelu', [x], { approximate }, { tolerance });
    expectParity('MerakGeluGrad', [floats('dy', x.shape, random), x], { approximate }, { tolerance });
  }
});

test('softmax cross-entropy, its gradient and its shard, with ignored labels and padding columns', () => {
  const random = seeded(5);
  for (const [rows, columns, padding] of [
    [1, 1, 0],
    [9, 17, 0],
    [40, 251, 1],
    [5, 300, 44],
  ] as const) {
    const logits = floats('logits', [rows, columns], random, 5);
    const vocabLimit = columns - padding;
    const labels = integers('labels', [rows], random, -1, vocabLimit);
    const attrs = { vocabOffset: 0, vocabLimit };
    expectParity('MerakSoftmaxCrossEntropy', [logits, labels], attrs, { tolerance: TOLERANCE });
    const [, logsumexp] = outputsOf('MerakSoftmaxCrossEntropy', [logits, labels], attrs, ['loss', 'logsumexp']);
    const dy = floats('dy', [rows], random);
    const inputs = [dy, logits, labels, logsumexp as Input];
    expectParity('MerakSoftmaxCrossEntropyGrad', inputs, attrs, { tolerance: TOLERANCE });
    const max = floats('max', [rows], random, 1);
    const shard = { vocabOffset: 7, vocabLimit };
    expectParity('MerakShardedCrossEntropy', [logits, labels, max], shard, { tolerance: TOLERANCE });
  }
});

test('embedding and its gradient, whole and sharded', () => {
  const random = seeded(6);
  const table = floats('table', [13, 70], random);
  const ids = integers('ids', [4, 9], random, 0, 13);
  expectParity('MerakEmbedding', [table, ids], { vocabOffset: 0, sharded: false });
  const elsewhere = integers('ids', [4, 9], random, 0, 40);
  expectParity('MerakEmbedding', [table, elsewhere], { vocabOffset: 10, sharded: true });
  const dy = floats('dy', [4, 9, 70], random);
  const whole = { vocabSize: 13, vocabOffset: 0, sharded: false };
  expectParity('MerakEmbeddingGrad', [dy, ids], whole, { tolerance: TOLERANCE });
  const sharded = { vocabSize: 13, vocabOffset: 10, sharded: true };
  expectParity('MerakEmbeddingGrad', [dy, elsewhere], sharded, { tolerance: TOLERANCE });
  const outside = integers('ids', [3], random, 13, 14);
  const output = [{ shape: [3, 70], dtype: 'float32' as const }];
  expect(() => runNative('MerakEmbedding', [table, outside], { sharded: false }, output)).toThrow(/outside the table/);
});

test('dropout and random draw the very bits of the reference, wherever the piece lies', () => {
  const context = { seed: 2 ** 40 + 12345, step: 7, micro: 2, numMicroBatches: 3, dpIndex: 1 };
  const previous = setRandomContext({ seed: context.seed, step: context.step, microBatch: 5 });
  const random = seeded(7);
  const regions = [
    { shape: [4, 5], globalShape: [24, 5], offsets: [0, 0], batchDim: 0 },
    { shape: [4, 6, 3], globalShape: [24, 6, 9], offsets: [0, 0, 3], batchDim: 0 },
    { shape: [3, 2, 7], globalShape: [9, 12, 7], offsets: [6, 0, 0], batchDim: 1 },
    { shape: [5000], globalShape: [70000], offsets: [123], batchDim: -1 },
    { shape: [10001], globalShape: [70000], offsets: [0], batchDim: 0 },
  ];
  for (const region of regions) {
    const x = floats('x', region.shape, random);
    const attrs = { ...region, rate: 0.3, node: 4 };
    const [expected] = runReference('MerakDropout', [x], attrs);
    const spec = { inputs: [x], inputNames: ['x'], outputs: [{ shape: region.shape, dtype: 'float32' as const }] };
    const [dropped] = loadAddon().runKernel({ kernel: 'MerakDropout', ...spec, attrs }, [x.data], context);
    expect(dropped).toEqual(expected?.data);
    for (const kind of ['uniform', 'normal']) {
      const drawn = { ...region, kind, a: -0.5, b: 2, node: 9 };
      const [reference] = runReference('MerakRandom', [], drawn);
      const none = { ...spec, inputs: [], inputNames: [] };
      const [values] = loadAddon().runKernel({ kernel: 'MerakRandom', ...none, attrs: drawn }, [], context);
      expectClose(
        values ?? x.data,
        reference?.data ?? x.data,
        { relative: kind === 'normal' ? 1e-6 : 0, absolute: 1e-7 },
        kind,
      );
    }
  }
  setRandomContext(previous);
});

test('shard and gather on an axis of one rank, accumulate, assign', () => {
  const random = seeded(8);
  const x = floats('x', [3, 6, 5], random);
  for (const index of [0, 1]) {
    const attrs = { axis: 'tp', dim: 1, parts: 3, paddedSize: 6, degree: 2, index };
    expectParity('MerakShard', [x], attrs);
  }
  const odd = floats('x', [2, 7], random);
  for (const index of [0, 1]) {
    expectParity('MerakShard', [odd], { axis: 'tp', dim: 1, parts: 1, paddedSize: 8, degree: 2, index });
  }
  expectParity('MerakAllGather', [odd], { axis: 'tp', dim: 1, parts: 1, size: 7, degree: 1, index: 0 });
  expectParity('MerakAllReduce', [x], { axis: 'tp', op: 'sum' });
  expectParity('MerakFanOut', [x], { axis: 'tp' });
  const spec = { inputs: [odd], inputNames: ['x'], outputs: [{ shape: [2, 7], dtype: 'float32' as const }], attrs: {} };
  const [sum] = loadAddon().runKernel({ kernel: 'MerakAccumulate', ...spec }, [odd.data], { outputs: [odd.data] });
  expect(sum).toEqual(Float32Array.from(odd.data, (value) => value * 2));
  expect(loadAddon().runKernel({ kernel: 'MerakAssign', ...spec }, [odd.data])[0]).toEqual(odd.data);
});
