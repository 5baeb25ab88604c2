/** Text from a trained model, a byte at a time. */
import * as tf from '@tensorflow/tfjs';
import type { ParallelModel } from 'merak';

export interface SampleOptions {
  readonly length: number;
  readonly contextLength: number;
  readonly temperature: number;
  readonly seed: number;
}

/** Continues `prompt` by `length` bytes. The window slides, so each byte costs one forward pass of one window. */
export async function sampleText(parallel: ParallelModel, prompt: string, options: SampleOptions): Promise<string> {
  const { length, contextLength, temperature, seed } = options;
  const bytes = [...Buffer.from(prompt, 'utf8')];
  const random = generator(seed);
  for (let i = 0; i < length; i++) {
    const window = bytes.slice(-contextLength);
    // Causal attention: what stands after the last real byte cannot reach it, so the window is filled up with zeros.
    const tokens = tf.tensor2d(
      [...window, ...Array<number>(contextLength - window.length).fill(0)],
      [1, contextLength],
      'int32',
    );
    const logits = (await parallel.predict({ tokens }, { batchSize: 1 })) as tf.Tensor;
    const all = await logits.data();
    const vocabularySize = logits.shape[2]!;
    const row = all.slice((window.length - 1) * vocabularySize, window.length * vocabularySize) as Float32Array;
    bytes.push(draw(row, temperature, random()));
    tf.dispose([tokens, logits]);
  }
  return Buffer.from(bytes).toString('utf8');
}

/** The index at which the softmax of `logits / temperature`, summed up, passes `uniform`. */
function draw(logits: Float32Array, temperature: number, uniform: number): number {
  const top = Math.max(...logits);
  const weights = Array.from(logits, (logit) => Math.exp((logit - top) / temperature));
  let left = uniform * weights.reduce((sum, weight) => sum + weight, 0);
  const index = weights.findIndex((weight) => {
    left -= weight;
    return left <= 0;
  });
  return index < 0 ? weights.length - 1 : index;
}

/** Uniform numbers in [0,1) (Weyl sequence through a 32-bit finaliser): enough for picking letters. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let x = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return ((x ^ (x >>> 15)) >>> 0) / 2 ** 32;
  };
}
