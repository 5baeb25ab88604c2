/** Products on the stand-in card: transposed, batched, accumulating, in bfloat16 with every finish. */
import { describe, expect, it } from 'vitest';
import type { Attrs } from '../../src/graph/graph.js';
import { loadAddon } from '../../src/runtime/native/addon.js';
import { expectAlike, nodeOf, relativeError, type Stored, type Tensor, tensor } from './card.js';

const float = (shape: readonly number[], dtype: Stored = 'float32') => ({ shape, dtype });

describe('float32', () => {
  it.each([
    [[5, 7], [7, 3], false, false],
    [[7, 5], [3, 7], true, true],
    [[2, 4, 6], [6, 5], false, false],
    [[3, 4, 6], [3, 5, 6], false, true],
    [[2, 1, 4, 6], [3, 6, 5], false, false],
    [[1, 6, 4], [2, 6, 5], true, false],
    [[4, 0], [0, 3], false, false],
    [[0, 4], [4, 3], false, false],
  ])('%j x %j, transposed %j %j', (a, b, transposeA, transposeB) => {
    const [m, n] = [transposeA ? a.at(-1)! : a.at(-2)!, transposeB ? b.at(-2)! : b.at(-1)!];
    const rank = Math.max(a.length, b.length);
    const dim = (shape: number[], d: number) => shape[d - (rank - shape.length)] ?? 1;
    const batch = Array.from({ length: rank - 2 }, (_, d) => Math.max(dim(a, d), dim(b, d)));
    const out = float([...batch, m, n]);
    const inputs = { a: tensor(a, 1), b: tensor(b, 2) };
    expectAlike('BatchMatMul', inputs, [out], { transposeA, transposeB });
    const start = tensor(out.shape, 3).data;
    expectAlike(
      'BatchMatMul',
      inputs,
      [out],
      { transposeA, transposeB, accumulate: true },
      { options: { outputs: [start] } },
    );
  });
  it.each(['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'leakyrelu'])('bias and %s', (activation) => {
    const inputs = { a: tensor([6, 5], 1), b: tensor([5, 9], 2), bias: tensor([9], 3) };
    expectAlike('_FusedMatMul', inputs, [float([6, 9])], { activation });
  });
});

describe('tf32', () => {
  /** To 10 bits of fraction, ties to even. */
  function rounded(one: Tensor): Tensor {
    const data = Float32Array.from(one.data);
    const bits = new Uint32Array(data.buffer);
    for (let i = 0; i < bits.length; i++) bits[i] = (bits[i]! + 0xfff + ((bits[i]! >>> 13) & 1)) & 0xffffe000;
    return { ...one, data };
  }
  it.each([undefined, 'tf32'])('precision %s asks cuBLASLt for its arithmetic', (precision) => {
    const inputs = { a: tensor([9, 21], 1), b: tensor([21, 7], 2) };
    const attrs: Attrs = precision === undefined ? {} : { precision };
    const node = nodeOf('BatchMatMul', inputs, [float([9, 7])], attrs);
    const product = (a: Tensor, b: Tensor) => [...loadAddon().runKernel(node, [a.data, b.data])[0]!];
    const [got] = loadAddon().runCudaKernel(node, [inputs.a.data, inputs.b.data]);
    const errors = {
      exact: relativeError([...got!], product(inputs.a, inputs.b)),
      rounded: relativeError([...got!], product(rounded(inputs.a), rounded(inputs.b))),
    };
    const [near, far] = precision === 'tf32' ? [errors.rounded, errors.exact] : [errors.exact, errors.rounded];
    expect(near).toBeLessThan(1e-6);
    expect(far).toBeGreaterThan(1e-5);
  });
});

describe('bfloat16', () => {
  const narrow = 'bfloat16' as const;
  const bias = { bias: tensor([24], 5) };
  const residual = { residual: tensor([20, 24], 6) };
  const operands = (dtype: Stored) => ({ a: tensor([20, 32], 1, dtype), b: tensor([32, 24], 2) });
  const compare = (
    more: Record<string, ReturnType<typeof tensor>>,
    outputs: Stored[],
    attrs = {},
    dtype: Stored = narrow,
  ) => {
    const shapes = outputs.map((one) => float([20, 24], one));
    expectAlike(
      attrs && 'gelu' in attrs ? 'MerakProduct' : 'BatchMatMul',
      { ...operands(dtype), ...more },
      shapes,
      { precision: 'bf16', ...attrs },
      { tolerance: 1e-2 },
    );
  };
  it('alone', () => {
    compare({}, ['float32'], {}, 'float32');
    compare({}, [narrow]);
  });
  it('with bias and residual', () => {
    compare(bias, ['float32']);
    compare(bias, [narrow]);
    compare({ ...bias, ...residual }, ['float32']);
    compare(residual, [narrow]);
  });
  it.each(['tanh', 'none'])('with gelu %s', (gelu) => {
    compare(bias, [narrow, narrow], { gelu });
    compare({}, [narrow, narrow], { gelu });
    compare(bias, ['float32', narrow], { gelu });
    compare(residual, ['float32', 'float32'], { gelu });
  });
  it.each(['tanh', 'none'])('with the slope of gelu %s', (gelu) => {
    compare({ point: tensor([20, 24], 7, narrow) }, [narrow], { gelu });
    compare({ point: tensor([20, 24], 7) }, ['float32'], { gelu });
  });
  it('adds to a gradient', () => {
    const start = tensor([32, 24], 9).data;
    const inputs = { a: tensor([20, 32], 1, narrow), b: tensor([20, 24], 2, narrow) };
    expectAlike(
      'BatchMatMul',
      inputs,
      [float([32, 24])],
      { transposeA: true, precision: 'bf16', accumulate: true },
      { options: { outputs: [start] } },
    );
  });
});

describe('einsum', () => {
  it.each([
    ['ij,jk->ik', [3, 4], [4, 5]],
    ['bij,bjk->bik', [2, 3, 4], [2, 4, 5]],
    ['jib,kj->bki', [4, 3, 2], [5, 4]],
    ['bqhd,bkhd->bhqk', [2, 3, 2, 4], [2, 5, 2, 4]],
    ['ij,jk->', [3, 40], [40, 5]],
    ['iij,j->i', [3, 3, 4], [4]],
    ['ij,kl->ik', [3, 4], [5, 6]],
    ['ijk->kj', [3, 4, 5]],
    ['i,ij,jk,k->', [3], [3, 4], [4, 5], [5]],
    ['ij,jk->ik', [3, 0], [0, 5]],
  ])('%s', (equation, ...shapes) => {
    const sizes = new Map<string, number>();
    const [terms, output] = equation.split('->') as [string, string];
    terms.split(',').forEach((term, k) => {
      for (const [d, label] of [...term].entries()) sizes.set(label, (shapes[k] as number[])[d]!);
    });
    const inputs = Object.fromEntries(shapes.map((shape, k) => [`t${k}`, tensor(shape as number[], k + 1)]));
    expectAlike('Einsum', inputs, [float([...output].map((label) => sizes.get(label)!))], { equation });
  });
});
