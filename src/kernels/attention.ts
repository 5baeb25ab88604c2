/** MerakAttention: softmax(scale q k^T + masks) v, with the row log-sum-exp kept for the gradient. */
import * as tf from '@tensorflow/tfjs';
import { booleanAttr, numberAttr } from './attributes.js';
import { input, type KernelDefinition, type KernelInputs, noGradient, OptionalNames } from './definition.js';

/** Stands for "dropped": far below any score, yet finite, so that no backend subtracts infinities. */
const DROPPED = -1e30;

/** [B,T,h,d] <-> [B,h,T,d]. */
const swapHeads = (x: tf.Tensor): tf.Tensor => tf.transpose(x, [0, 2, 1, 3]);

/** Boolean [B|1,1,Tq|1,Tk] of the keys a query may see, or null when it sees all. Causal aligns the last query with the last key. */
function visibleKeys(inputs: KernelInputs, causal: boolean, numQueries: number, numKeys: number): tf.Tensor | null {
  const mask = inputs.mask;
  const padding = mask === undefined ? null : tf.reshape(tf.cast(mask, 'bool'), [-1, 1, 1, numKeys]);
  if (!causal) return padding;
  const last = numKeys - numQueries;
  const past = Uint8Array.from({ length: numQueries * numKeys }, (_, i) =>
    i % numKeys <= Math.floor(i / numKeys) + last ? 1 : 0,
  );
  const triangle = tf.tensor(past, [1, 1, numQueries, numKeys], 'bool');
  return padding === null ? triangle : tf.logicalAnd(padding, triangle);
}

/** Scores [B,h,Tq,Tk] with dropped keys at DROPPED, and the keys kept. */
function scoresOf(inputs: KernelInputs, attrs: tf.NamedAttrMap): { scores: tf.Tensor; keep: tf.Tensor | null } {
  const q = input(inputs, 'q');
  const k = input(inputs, 'k');
  const scores = tf.mul(tf.matMul(swapHeads(q), swapHeads(k), false, true), numberAttr(attrs, 'scale'));
  const visible = visibleKeys(inputs, booleanAttr(attrs, 'causal'), q.shape[1] ?? 0, k.shape[1] ?? 0);
  if (visible === null) return { scores, keep: null };
  const keep = tf.broadcastTo(visible, scores.shape);
  return { scores: tf.where(keep, scores, tf.fill(scores.shape, DROPPED)), keep };
}

export const attention: KernelDefinition = {
  kernel: 'MerakAttention',
  inputs: ['q', 'k', 'v', 'mask?'],
  reference(inputs, attrs) {
    const { scores, keep } = scoresOf(inputs, attrs);
    const highest = tf.max(scores, -1, true);
    const exponentials = tf.exp(tf.sub(scores, highest));
    const weights = keep === null ? exponentials : tf.mul(exponentials, tf.cast(keep, 'float32'));
    const total = tf.sum(weights, -1, true);
    const probabilities = tf.div(weights, tf.maximum(total, 1e-30));
    const out = swapHeads(tf.matMul(probabilities, swapHeads(input(inputs, 'v'))));
    return [out, tf.squeeze(tf.add(tf.log(total), highest), [3])];
  },
  gradient: {
    inputsToSave: OptionalNames.of('q', 'k', 'v', 'mask'),
    outputsToSave: [true, true],
    // The log-sum-exp is an auxiliary output: its own gradient is taken to be zero.
    gradFunc(dys, saved, attrs) {
      const dy = Array.isArray(dys) ? dys[0]! : dys;
      const [q, k, v] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
      const mask = saved.length === 6 ? saved[3] : undefined;
      const [out, logsumexp] = saved.slice(-2) as [tf.Tensor, tf.Tensor];
      const inputs = { dy, q, k, v, out, logsumexp, ...(mask === undefined ? {} : { mask }) };
      const [dq, dk, dv] = tf.engine().runKernel<tf.Tensor[]>('MerakAttentionGrad', inputs, attrs);
      return { q: () => dq!, k: () => dk!, v: () => dv!, ...(mask === undefined ? {} : { mask: noGradient(mask) }) };
    },
  },
};

/** FlashAttention's backward (Dao et al. 2022, algorithm 4), untiled. */
export const attentionGrad: KernelDefinition = {
  kernel: 'MerakAttentionGrad',
  inputs: ['dy', 'q', 'k', 'v', 'out', 'logsumexp', 'mask?'],
  reference(inputs, attrs) {
    const { scores, keep } = scoresOf(inputs, attrs);
    const shifted = tf.sub(scores, tf.expandDims(input(inputs, 'logsumexp'), 3));
    const probabilities = keep === null ? tf.exp(shifted) : tf.where(keep, tf.exp(shifted), tf.zerosLike(shifted));
    const dy = swapHeads(input(inputs, 'dy'));
    const dv = tf.matMul(probabilities, dy, true, false);
    const dProbabilities = tf.matMul(dy, swapHeads(input(inputs, 'v')), false, true);
    const rowDots = tf.sum(tf.mul(dy, swapHeads(input(inputs, 'out'))), -1, true);
    const dScores = tf.mul(tf.mul(probabilities, tf.sub(dProbabilities, rowDots)), numberAttr(attrs, 'scale'));
    const dq = tf.matMul(dScores, swapHeads(input(inputs, 'k')));
    const dk = tf.matMul(dScores, swapHeads(input(inputs, 'q')), true, false);
    return [swapHeads(dq), swapHeads(dk), swapHeads(dv)];
  },
};
