/** Attention on the stand-in card: the tensor cores' kernels and the plain ones, beside the CPU engine. */
import { describe, it } from 'vitest';
import { expectAlike, type Stored, type Tensor, tensor } from './card.js';

const float = (shape: readonly number[], dtype: Stored = 'float32') => ({ shape, dtype });

/** Keeps all keys of the first sequence, half of the second, none of the third, ... */
function maskOf(batch: number, keys: number): Tensor {
  const data = Int32Array.from({ length: batch * keys }, (_, i) => {
    const sequence = Math.floor(i / keys) % 3;
    return sequence === 0 || (sequence === 1 && (i % keys) % 2 === 0) ? 1 : 0;
  });
  return { shape: [batch, keys], dtype: 'int32', data };
}

interface Case {
  readonly shape: readonly [number, number, number, number];
  readonly causal: boolean;
  readonly masked: boolean;
  readonly narrow: boolean;
}

function packed({ shape: [batch, length, heads, depth], causal, masked, narrow }: Case): void {
  const hidden = heads * depth;
  const dtype = narrow ? 'bfloat16' : 'float32';
  const attrs = { causal, scale: 1 / Math.sqrt(depth), headShape: [batch, length, heads, depth] };
  const mask: Record<string, Tensor> = masked ? { mask: maskOf(batch, length) } : {};
  const qkv = tensor([batch, length, 3 * hidden], 1, dtype);
  const out = [float([batch, length, heads, depth], dtype), float([batch, heads, length])];
  const tolerance = narrow ? 1e-2 : 1e-5;
  expectAlike('MerakPackedAttention', { qkv, ...mask }, out, attrs, { tolerance });
  // Any logsumexp and out will do for the gradient's formula, as long as weights stay moderate.
  const logsumexp = tensor([batch, heads, length], 2, 'float32', 0.3);
  for (let i = 0; i < logsumexp.data.length; i++) logsumexp.data[i]! += 2;
  const dy = tensor(out[0]!.shape, 3, dtype);
  const made = tensor(out[0]!.shape, 4, dtype);
  expectAlike(
    'MerakPackedAttentionGrad',
    { dy, out: made, logsumexp, qkv, ...mask },
    [float([batch, length, 3 * hidden], dtype)],
    attrs,
    { tolerance },
  );
}

describe('packed attention', () => {
  it.each<[string, Case]>([
    ['64, causal', { shape: [1, 130, 2, 64], causal: true, masked: false, narrow: true }],
    ['64, masked', { shape: [3, 70, 1, 64], causal: false, masked: true, narrow: true }],
    ['128, causal and masked', { shape: [3, 67, 1, 128], causal: true, masked: true, narrow: true }],
    ['24, which is padded', { shape: [2, 33, 2, 24], causal: true, masked: false, narrow: true }],
    ['one position', { shape: [2, 1, 1, 64], causal: true, masked: false, narrow: true }],
    ['12, which the tensor cores do not take', { shape: [2, 19, 2, 12], causal: true, masked: true, narrow: true }],
    ['float32', { shape: [3, 37, 2, 20], causal: true, masked: true, narrow: false }],
    ['float32, 64', { shape: [1, 40, 1, 64], causal: false, masked: false, narrow: false }],
  ])('%s', (_, one) => packed(one));
});

describe('attention of separate tensors', () => {
  it.each([
    ['causal, more keys than queries', 5, 9, true],
    ['causal, more queries than keys', 9, 5, true],
    ['no mask at all', 33, 40, false],
  ] as const)('%s', (_, queries, keys, causal) => {
    const attrs = { causal, scale: 0.3 };
    const q = tensor([2, queries, 3, 16], 1);
    const k = tensor([2, keys, 3, 16], 2);
    const v = tensor([2, keys, 3, 16], 3);
    const mask = maskOf(2, keys);
    expectAlike('MerakAttention', { q, k, v, mask }, [float(q.shape), float([2, 3, queries])], attrs);
    const logsumexp = tensor([2, 3, queries], 5, 'float32', 0.3);
    const slopes = { dy: tensor(q.shape, 6), q, k, v, out: tensor(q.shape, 7), logsumexp, mask };
    expectAlike('MerakAttentionGrad', slopes, [float(q.shape), float(k.shape), float(v.shape)], attrs);
  });
});

it('leaves empty batches alone', () => {
  const empty = tensor([0, 4, 2, 16], 1);
  expectAlike('MerakAttention', { q: empty, k: empty, v: empty }, [float([0, 4, 2, 16]), float([0, 2, 4])], {
    causal: true,
    scale: 1,
  });
});
