/** A small T5-like model: encoder, decoder with cross-attention to the encoder's end, one table for all three embeddings. */
import * as tf from '@tensorflow/tfjs';
import { attention } from '../../src/nn/attention.js';
import { dense } from '../../src/nn/dense.js';
import { embedding } from '../../src/nn/embedding.js';
import { layerNorm } from '../../src/nn/layerNorm.js';
import { softmaxCrossEntropy } from '../../src/nn/softmaxCrossEntropy.js';
import { variable } from '../../src/nn/variable.js';
import type { Batch, FunctionalModel } from '../../src/trace/model.js';

export interface EncoderDecoder extends FunctionalModel {
  readonly variables: readonly tf.Variable[];
}

const HEADS = 2;

export function encoderDecoder(vocabulary: number, hidden: number, numLayers: number): EncoderDecoder {
  const variables: tf.Variable[] = [];
  const make = (name: string, shape: number[], stddev = 0.2) => {
    const made = variable(`t5/${name}`, shape, { kind: 'normal', mean: 0, stddev });
    variables.push(made);
    return made;
  };
  const table = make('table', [vocabulary, hidden]);
  const norm = (name: string) => ({ gamma: make(`${name}/gamma`, [hidden], 1), beta: make(`${name}/beta`, [hidden]) });
  const attend = (name: string) => ({
    norm: norm(`${name}/norm`),
    q: make(`${name}/q`, [hidden, hidden]),
    kv: make(`${name}/kv`, [hidden, 2 * hidden]),
    o: make(`${name}/o`, [hidden, hidden]),
  });
  const feed = (name: string) => ({
    norm: norm(`${name}/norm`),
    up: make(`${name}/up`, [hidden, 2 * hidden]),
    down: make(`${name}/down`, [2 * hidden, hidden]),
  });
  const layers = Array.from({ length: numLayers }, (_, i) => i);
  const encoder = layers.map((i) => ({ self: attend(`enc${i}/self`), mlp: feed(`enc${i}/mlp`) }));
  const decoder = layers.map((i) => ({
    self: attend(`dec${i}/self`),
    cross: attend(`dec${i}/cross`),
    mlp: feed(`dec${i}/mlp`),
  }));

  const normalise = (x: tf.Tensor, { gamma, beta }: ReturnType<typeof norm>) => layerNorm(x, gamma, beta, 1e-5);
  const heads = (x: tf.Tensor) => tf.reshape(x, [x.shape[0]!, x.shape[1]!, HEADS, hidden / HEADS]);
  const attended = (x: tf.Tensor, source: tf.Tensor | null, w: ReturnType<typeof attend>, causal: boolean) => {
    const y = normalise(x, w.norm);
    const [k, v] = tf.split(dense(source ?? y, w.kv), 2, -1);
    const mixed = attention({ q: heads(dense(y, w.q)), k: heads(k!), v: heads(v!), causal });
    return tf.add(x, dense(tf.reshape(mixed, x.shape), w.o));
  };
  const fed = (x: tf.Tensor, w: ReturnType<typeof feed>) =>
    tf.add(x, dense(tf.relu(dense(normalise(x, w.norm), w.up)), w.down));

  return {
    variables,
    loss({ source, tokens, targets }: Batch) {
      let memory: tf.Tensor = embedding(table, source!);
      for (const { self, mlp } of encoder) memory = fed(attended(memory, null, self, false), mlp);
      let x: tf.Tensor = embedding(table, tokens!);
      for (const { self, cross, mlp } of decoder) {
        x = fed(attended(attended(x, null, self, true), memory, cross, false), mlp);
      }
      const logits = tf.matMul(tf.reshape(x, [-1, hidden]), table as tf.Tensor2D, false, true);
      return tf.mean(softmaxCrossEntropy(logits, tf.reshape(targets!, [-1]))).asScalar();
    },
  };
}
