/** Attention and its gradient, score by score. */
import type { Tensor } from '../card.js';
import { type Case, caseOf, type Doubles, doubles, fresh, narrow, type Precision, storedAs } from './case.js';

interface Setting {
  readonly shape: readonly [batch: number, length: number, heads: number, depth: number];
  readonly causal: boolean;
  readonly scale: number;
}

/** out, logsumexp and, where dy is given, dqkv. */
function attention({ shape, causal, scale }: Setting, qkv: Doubles, mask?: Doubles, dy?: Doubles) {
  const [batch, length, heads, depth] = shape;
  const hidden = heads * depth;
  const [out, logsumexp, slopes] = [doubles(shape), doubles([batch, heads, length]), doubles(qkv.shape)];
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++) {
      /** Place of q, k or v (part 0, 1, 2) of a position. */
      const at = (part: number, t: number) => ((b * length + t) * 3 + part) * hidden + h * depth;
      const dot = (x: Float64Array, i: number, y: Float64Array, j: number) => {
        let sum = 0;
        for (let d = 0; d < depth; d++) sum += x[i + d]! * y[j + d]!;
        return sum;
      };
      for (let t = 0; t < length; t++) {
        const keys = Array.from({ length: causal ? t + 1 : length }, (_, s) => s).filter(
          (s) => mask === undefined || mask.data[b * length + s] !== 0,
        );
        const scores = keys.map((s) => scale * dot(qkv.data, at(0, t), qkv.data, at(1, s)));
        const top = Math.max(...scores);
        const total = scores.reduce((sum, x) => sum + Math.exp(x - top), 0);
        const weights = scores.map((x) => Math.exp(x - top) / total);
        logsumexp.data[(b * heads + h) * length + t] = top + Math.log(total);
        const row = (b * length + t) * hidden + h * depth;
        keys.forEach((s, k) => {
          for (let d = 0; d < depth; d++) out.data[row + d]! += weights[k]! * qkv.data[at(2, s) + d]!;
        });
        if (dy === undefined) continue;
        const rises = keys.map((s) => dot(dy.data, row, qkv.data, at(2, s)));
        const mean = rises.reduce((sum, x, k) => sum + x * weights[k]!, 0);
        keys.forEach((s, k) => {
          const slope = weights[k]! * (rises[k]! - mean) * scale;
          for (let d = 0; d < depth; d++) {
            slopes.data[at(0, t) + d]! += slope * qkv.data[at(1, s) + d]!;
            slopes.data[at(1, s) + d]! += slope * qkv.data[at(0, t) + d]!;
            slopes.data[at(2, s) + d]! += weights[k]! * dy.data[row + d]!;
          }
        });
      }
    }
  return { out, logsumexp, slopes };
}

function cases(precision: Precision, shape: Setting['shape'], causal: boolean, masked: boolean): Case[] {
  const [batch, length, heads, depth] = shape;
  const dtype = narrow(precision);
  const setting = { shape, causal, scale: 1 / Math.sqrt(depth) };
  const attrs = { causal, scale: setting.scale, headShape: [...shape] };
  // The first key stays, so that no row is left without any.
  const kept = Int32Array.from({ length: batch * length }, (_, i) => (i % length === 0 || i % 3 !== 1 ? 1 : 0));
  const mask: Record<string, Tensor> = masked ? { mask: { shape: [batch, length], dtype: 'int32', data: kept } } : {};
  const inputs: Record<string, Tensor> = { qkv: fresh([batch, length, 3 * heads * depth], dtype), ...mask };
  const forward = caseOf('MerakPackedAttention', precision, inputs, attrs, [dtype, 'float32'], (given) => {
    const { out, logsumexp } = attention(setting, given.qkv!, given.mask);
    return [out, logsumexp];
  });
  const [out, logsumexp] = forward.reference as [Doubles, Doubles];
  const known = { dy: fresh(shape, dtype), out: storedAs(out, dtype), logsumexp: storedAs(logsumexp, 'float32') };
  const slopes: Record<string, Tensor> = { ...known, ...inputs };
  const backward = caseOf('MerakPackedAttentionGrad', precision, slopes, attrs, [dtype], (given) => [
    attention(setting, given.qkv!, given.mask, given.dy).slopes,
  ]);
  return [forward, backward];
}

export const attentionCases = (): Case[] => [
  ...cases('bf16', [2, 75, 2, 64], true, false),
  ...cases('f16', [1, 67, 1, 128], false, true),
  ...cases('f32', [2, 29, 2, 20], true, true),
];
