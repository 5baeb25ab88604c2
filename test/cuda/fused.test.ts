/** Layer norm, gelu, cross-entropy, embedding, column sums and random numbers on the stand-in card. */
import { describe, expect, it } from 'vitest';
import { loadAddon } from '../../src/runtime/native/addon.js';
import { expectAlike, nodeOf, type Stored, type Tensor, tensor } from './card.js';

const float = (shape: readonly number[], dtype: Stored = 'float32') => ({ shape, dtype });

describe('layer norm', () => {
  it.each([
    [5, 768, 'bfloat16'],
    [7, 30, 'float32'],
    [300, 8, 'float32'],
    [3, 1600, 'bfloat16'],
    [2, 1021, 'float32'],
    [0, 12, 'float32'],
  ] as const)('%i rows of %i, %s', (rows, width, dtype) => {
    const x = tensor([rows, width], 1);
    const gamma = tensor([width], 2);
    const beta = tensor([width], 3);
    const tolerance = dtype === 'bfloat16' ? 4e-3 : 1e-5;
    expectAlike(
      'MerakLayerNorm',
      { x, gamma, beta },
      [float(x.shape, dtype), float([rows]), float([rows])],
      { epsilon: 1e-5 },
      { tolerance },
    );
    const mean = tensor([rows], 5, 'float32', 0.1);
    const rstd = tensor([rows], 6);
    const inputs = { dy: tensor(x.shape, 7, dtype), x, gamma, mean, rstd };
    const outputs = [float(x.shape), float([width]), float([width])];
    expectAlike('MerakLayerNormGrad', inputs, outputs, {});
    expectAlike('MerakLayerNormGrad', { ...inputs, residual: tensor(x.shape, 8) }, outputs, {});
  });
});

describe('gelu', () => {
  it.each(['tanh', 'none'] as const)('%s', (approximate) => {
    for (const [from, to] of [
      ['float32', 'float32'],
      ['bfloat16', 'bfloat16'],
      ['float32', 'bfloat16'],
    ] as const) {
      const x = tensor([7, 33], 1, from, 2);
      const tolerance = to === 'bfloat16' ? 4e-3 : 1e-5;
      expectAlike('MerakGelu', { x }, [float(x.shape, to)], { approximate }, { tolerance });
      expectAlike(
        'MerakGeluGrad',
        { dy: tensor(x.shape, 2, from), x },
        [float(x.shape, to)],
        { approximate },
        { tolerance },
      );
    }
  });
});

describe('cross-entropy', () => {
  const labels: Tensor = { shape: [6], dtype: 'int32', data: Int32Array.of(0, 40, -1, 12, 3, 39) };
  it.each([41, 64, 1029, 9001])('a vocabulary of %i', (width) => {
    const logits = tensor([6, width], 1, 'float32', 3);
    logits.data[5] = 80;
    const rows = float([6]);
    expectAlike('MerakSoftmaxCrossEntropy', { logits, labels }, [rows, rows]);
    const slopes = { dy: tensor([6], 2), logits, labels, logsumexp: tensor([6], 3, 'float32', 0.2) };
    slopes.logsumexp.data.fill(9);
    expectAlike('MerakSoftmaxCrossEntropyGrad', slopes, [float(logits.shape)]);
    expectAlike('MerakSoftmaxCrossEntropyGrad', slopes, [float(logits.shape)], {
      vocabOffset: 5,
      vocabLimit: width - 3,
    });
    const max = tensor([6], 4);
    max.data.fill(4);
    expectAlike('MerakShardedCrossEntropy', { logits, labels, max }, [rows, rows], {
      vocabOffset: 5,
      vocabLimit: width - 3,
    });
  });
  it('says which label is outside', () => {
    const node = nodeOf('MerakSoftmaxCrossEntropy', { logits: tensor([6, 20], 1), labels }, [float([6]), float([6])]);
    expect(() => loadAddon().runCudaKernel(node, [tensor([6, 20], 1).data, labels.data])).toThrow('not in [0, 20)');
  });
  it('keeps infinities and NaN where they are', () => {
    const logits = tensor([6, 50], 1);
    logits.data.set([-Infinity, Infinity], 0);
    logits.data[60] = NaN;
    logits.data.fill(-Infinity, 100, 150);
    expectAlike('MerakSoftmaxCrossEntropy', { logits, labels: { ...labels, data: new Int32Array(6).fill(-1) } }, [
      float([6]),
      float([6]),
    ]);
  });
});

describe('embedding', () => {
  const ids = (count: number, rows: number) => tensor([count], 3, 'int32', rows);
  it.each([
    [5, 12, 7],
    [2500, 33, 5],
    [3, 4, 768],
  ])('%i ids of %i rows of %i', (count, rows, width) => {
    expectAlike('MerakEmbedding', { table: tensor([rows, width], 1), ids: ids(count, rows) }, [float([count, width])]);
    const inputs = { dy: tensor([count, width], 2), ids: ids(count, rows) };
    expectAlike('MerakEmbeddingGrad', inputs, [float([rows, width])], { vocabSize: rows });
    const start = tensor([rows, width], 5).data;
    expectAlike(
      'MerakEmbeddingGrad',
      inputs,
      [float([rows, width])],
      { vocabSize: rows, accumulate: true },
      { options: { outputs: [start] } },
    );
    const sharded = { vocabOffset: 2, sharded: true };
    expectAlike(
      'MerakEmbedding',
      { table: tensor([rows, width], 1), ids: ids(count, rows) },
      [float([count, width])],
      sharded,
    );
    expectAlike('MerakEmbeddingGrad', inputs, [float([rows - 3, width])], { vocabSize: rows - 3, ...sharded });
  });
  it('says which id is outside', () => {
    const table = tensor([4, 3], 1);
    const node = nodeOf('MerakEmbedding', { table, ids: ids(2, 3) }, [float([2, 3])]);
    expect(() => loadAddon().runCudaKernel(node, [table.data, Int32Array.of(1, 7)])).toThrow(
      'index 7 is not in [0, 4)',
    );
  });
});

it.each([
  [1, 5],
  [700, 12],
  [65, 130],
  [4000, 3],
])('sums the columns of %i x %i', (rows, width) => {
  for (const dtype of ['float32', 'bfloat16'] as const) {
    const x = tensor([rows, width], 1, dtype);
    expectAlike('MerakColumnSum', { x }, [float([width])]);
    const start = tensor([width], 2).data;
    expectAlike('MerakColumnSum', { x }, [float([width])], { accumulate: true }, { options: { outputs: [start] } });
  }
});

describe('random numbers are those of the CPU engine', () => {
  const options = { seed: 123456789012, step: 7, micro: 2, numMicroBatches: 4, dpIndex: 1 };
  const place = { globalShape: [64, 5, 14], offsets: [0, 1, 7], batchDim: 0, node: 11 };
  it('dropout', () => {
    expectAlike(
      'MerakDropout',
      { x: tensor([4, 3, 7], 1) },
      [float([4, 3, 7])],
      { rate: 0.3, ...place },
      { tolerance: 0, options },
    );
    const [x, residual] = [tensor([4, 3, 7], 1), tensor([4, 3, 7], 2)];
    const attrs = { rate: 0.3, ...place };
    const dropped = loadAddon().runKernel(nodeOf('MerakDropout', { x }, [float(x.shape)], attrs), [x.data], options);
    const node = nodeOf('MerakDropout', { x, residual }, [float(x.shape)], attrs);
    const [sum] = loadAddon().runCudaKernel(node, [x.data, residual.data], options);
    expect(sum).toEqual(Float32Array.from(residual.data, (value, i) => value + dropped[0]![i]!));
    const whole = { rate: 0.5, node: 3, globalShape: [40, 101], offsets: [0, 0], batchDim: -1 };
    expectAlike('MerakDropout', { x: tensor([40, 101], 1) }, [float([40, 101])], whole, { tolerance: 0, options });
  });
  it.each(['uniform', 'normal'])('%s', (kind) => {
    expectAlike(
      'MerakRandom',
      {},
      [float([4, 3, 7])],
      { kind, shape: [4, 3, 7], a: -1, b: 2, ...place },
      { tolerance: 1e-6, options },
    );
  });
});
