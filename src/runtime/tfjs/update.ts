/** The end of a training step: clipping by the global norm, then the optimizer on every trainable parameter. */
import * as tf from '@tensorflow/tfjs';
import { restoreBackend } from './backend.js';
import { gatherParameters, gradientNorm, gradientOf, shardsOptimizer } from './buckets.js';
import type { StepContext } from './context.js';
import { updateParameter } from './optimizer.js';

/** Returns the norm before clipping, or NaN when nothing asks for it. `updates` counts this one. */
export async function updateParameters(context: StepContext, updates: number): Promise<number> {
  const { plan, storage, input, backend } = context;
  const trainable = plan.parameters.filter((parameter) => parameter.trainable && parameter.gradientOffset >= 0);
  const norm = plan.clipNorm > 0 ? await gradientNorm(context, trainable) : Number.NaN;
  const scale = plan.clipNorm > 0 ? plan.clipNorm / Math.max(norm, plan.clipNorm) : 1;
  restoreBackend(backend);
  for (const parameter of trainable) {
    const value = storage.get('parameters', 0, parameter.offset);
    const raw = gradientOf(context, parameter);
    if (value === undefined || raw === undefined) continue;
    const moments = parameter.momentOffsets.flatMap((offset) => storage.get('optimizer', 0, offset) ?? []);
    const { owned } = parameter;
    if (owned !== undefined && owned.begin === owned.end) continue;
    const piece = (x: tf.Tensor) =>
      owned === undefined ? x : tf.slice(tf.reshape(x, [x.size]), [owned.begin], [owned.end - owned.begin]);
    const [newValue, ...newMoments] = tf.tidy(() => {
      const gradient = scale === 1 ? piece(raw) : tf.mul(piece(raw), scale);
      const { learningRate } = input;
      const [updated, ...others] = updateParameter(plan.optimizer, {
        value: piece(value),
        gradient,
        moments,
        learningRate,
        updates,
        decays: parameter.decays,
      });
      return [updated === undefined || owned === undefined ? updated : withPiece(value, updated, owned), ...others];
    });
    if (newValue !== undefined) storage.set('parameters', 0, parameter.offset, newValue);
    newMoments.forEach((tensor, index) => {
      storage.set('optimizer', 0, parameter.momentOffsets[index] ?? -1, tensor);
    });
  }
  if (shardsOptimizer(plan)) await gatherParameters(context);
  return norm;
}

/** `value` with its elements from `begin` to `end` replaced. */
function withPiece(value: tf.Tensor, piece: tf.Tensor, { begin, end }: { begin: number; end: number }): tf.Tensor {
  const flat = tf.reshape(value, [value.size]);
  const parts = [tf.slice(flat, [0], [begin]), piece, tf.slice(flat, [end], [value.size - end])];
  const nonEmpty = parts.filter((part) => part.size > 0);
  return tf.reshape(tf.concat(nonEmpty), value.shape);
}
