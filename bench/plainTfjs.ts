/** The GPT trained as tfjs users train: optimizer.minimize in a loop on the WASM backend. */
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import { batchSize, contextLength, flopsPerToken, makeModel, makeOptimizer, type Timed, windows } from './gptModel.js';

const MATMUL = tf.BatchMatMul;

/** The fastest of `numSteps` steps. */
export async function timePlain(numSteps: number): Promise<Timed> {
  await tf.setBackend('wasm');
  const model = makeModel();
  const optimizer = makeOptimizer();
  const source = windows(numSteps);
  let stepSeconds = Number.POSITIVE_INFINITY;
  let loss = Number.NaN;
  for (let index = 0; index < numSteps; index++) {
    const batch = await source.batch(0, index);
    const field = (name: string) => tf.tensor2d(batch?.fields.get(name) ?? [], [batchSize, contextLength], 'int32');
    const began = performance.now();
    const [tokens, targets] = [field('tokens'), field('targets')];
    const value = optimizer.minimize(() => model.loss({ tokens, targets }, { training: true }), true);
    loss = value?.dataSync()[0] ?? Number.NaN;
    stepSeconds = Math.min(stepSeconds, (performance.now() - began) / 1000);
    tf.dispose([tokens, targets, ...(value === null ? [] : [value])]);
  }
  const timed = { stepSeconds, loss, flopsPerToken: flopsPerToken(model) };
  optimizer.dispose();
  model.dispose();
  return timed;
}

/**
 * As `timePlain`, without the WASM backend's weak spot: it multiplies transposed matrices some ten times slower than
 * plain ones, and tfjs's gradient of matMul asks for just that. Here the gradient transposes first.
 */
export async function timeTuned(numSteps: number): Promise<Timed> {
  const original = tf.getGradient(MATMUL);
  tf.unregisterGradient(MATMUL);
  tf.registerGradient({ ...original, gradFunc: transposingFirst(original.gradFunc) });
  try {
    return await timePlain(numSteps);
  } finally {
    tf.unregisterGradient(MATMUL);
    tf.registerGradient(original);
  }
}

function transposingFirst(original: tf.GradConfig['gradFunc']): tf.GradConfig['gradFunc'] {
  return (dy, saved, attrs) => {
    const [a, b] = saved as [tf.Tensor2D, tf.Tensor2D];
    if (Array.isArray(dy) || a.rank !== 2 || b.rank !== 2 || attrs.transposeA) return original(dy, saved, attrs);
    const dz = dy as tf.Tensor2D;
    if (attrs.transposeB) return { a: () => tf.matMul(dz, b), b: () => tf.matMul(tf.transpose(dz), a) };
    return { a: () => tf.matMul(dz, tf.transpose(b)), b: () => tf.matMul(tf.transpose(a), dz) };
  };
}
