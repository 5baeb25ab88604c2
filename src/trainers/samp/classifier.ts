/** A character transformer that classifies: pre-norm layers, mean over the characters, a linear head. */
import * as tf from '@tensorflow/tfjs';
import { type Batch, type FunctionalModel, nn } from '../../index.js';

export interface ClassifierConfig {
  readonly vocabularySize: number;
  readonly numClasses: number;
  readonly numLayers: number;
  readonly hiddenSize: number;
  readonly numHeads: number;
  readonly contextLength: number;
  readonly dropout: number;
  readonly seed: number;
}

export interface Classifier extends FunctionalModel {
  /** In the order of use. */
  readonly variables: readonly tf.Variable[];
}

const STDDEV = 0.02;
const EPSILON = 1e-5;

/** Fields: `tokens` and `mask` [b, T] int32; for the loss `labels` [b] int32. Predicts logits [b, classes]. */
export function classifier(config: ClassifierConfig): Classifier {
  const { vocabularySize, numClasses, numLayers, hiddenSize: size, numHeads, contextLength, dropout, seed } = config;
  const variables: tf.Variable[] = [];
  const make = (name: string, shape: readonly number[], stddev: number, mean = 0): tf.Variable => {
    const initializer =
      stddev === 0 ? ({ kind: 'constant', value: mean } as const) : ({ kind: 'normal', mean, stddev } as const);
    const made = nn.variable(`classifier/${name}`, shape, initializer, { seed });
    variables.push(made);
    return made;
  };
  const linear = (name: string, inputs: number, outputs: number) => {
    const weight = make(`${name}/weight`, [inputs, outputs], STDDEV);
    const bias = make(`${name}/bias`, [outputs], 0);
    return (x: tf.Tensor): tf.Tensor => nn.dense(x, weight, bias);
  };
  const norm = (name: string) => {
    const gamma = make(`${name}/gamma`, [size], 0, 1);
    const beta = make(`${name}/beta`, [size], 0);
    return (x: tf.Tensor): tf.Tensor => nn.layerNorm(x, gamma, beta, EPSILON);
  };
  const table = make('tokens', [vocabularySize, size], STDDEV);
  const positions = make('positions', [contextLength, size], STDDEV);
  const layers = Array.from({ length: numLayers }, (_, i) => ({
    norm1: norm(`layer${i}/norm1`),
    qkv: linear(`layer${i}/qkv`, size, 3 * size),
    projection: linear(`layer${i}/projection`, size, size),
    norm2: norm(`layer${i}/norm2`),
    expand: linear(`layer${i}/expand`, size, 4 * size),
    contract: linear(`layer${i}/contract`, 4 * size, size),
  }));
  const lastNorm = norm('norm');
  const head = linear('head', size, numClasses);

  function logits({ tokens, mask }: Batch, training: boolean): tf.Tensor {
    const [batch = 0, length = 0] = tokens!.shape;
    let node = 0;
    const drop = (x: tf.Tensor): tf.Tensor => nn.dropout(x, { rate: dropout, training, node: node++ });
    let x = drop(tf.add(nn.embedding(table, tokens!), positions));
    for (const layer of layers) {
      const heads = tf
        .split(layer.qkv(layer.norm1(x)), 3, -1)
        .map((part) => tf.reshape(part, [batch, length, numHeads, size / numHeads]));
      const [q, k, v] = heads as [tf.Tensor, tf.Tensor, tf.Tensor];
      const mixed = tf.reshape(nn.attention({ q, k, v, mask: mask! }), [batch, length, size]);
      x = tf.add(x, drop(layer.projection(mixed)));
      x = tf.add(x, drop(layer.contract(nn.gelu(layer.expand(layer.norm2(x)), 'tanh'))));
    }
    const kept = tf.cast(mask!, 'float32');
    const sum = tf.sum(tf.mul(lastNorm(x), tf.expandDims(kept, -1)), 1);
    const mean = tf.div(sum, tf.maximum(tf.sum(kept, 1, true), 1));
    return head(mean);
  }

  return {
    variables,
    loss: (batch, { training }) => tf.mean(nn.softmaxCrossEntropy(logits(batch, training), batch.labels!)),
    predict: (batch) => logits(batch, false),
  };
}
