/** Layers are found by structure in models of several families, and the pass leaves nothing float that it should not. */
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import * as merak from '../../src/index.js';

async function namesOf(model: merak.UserModel, x: merak.TensorInput): Promise<readonly merak.LayerDescription[]> {
  return (await merak.quantiser(model, x, { batchSize: 2 })).layers;
}

const weight = (inputs: number, outputs: number, name: string): tf.Variable =>
  tf.variable(tf.randomNormal([inputs, outputs], 0, 0.2, 'float32', 1), true, name);

describe('findLayers', () => {
  it('BERT: qkv and projection, expansion and contraction; neither pooler nor head', async () => {
    const model = merak.models.bert({ vocabularySize: 9, contextLength: 4, numLayers: 3, numHeads: 2, hiddenSize: 8 });
    const layers = await namesOf(model, { tokens: tf.zeros([2, 4], 'int32') });
    expect(layers).toEqual(
      [0, 1, 2].map((i) => ({
        attention: [`bert/block${i}/qkv/weight`, `bert/block${i}/projection/weight`],
        feedForward: [`bert/block${i}/expand/weight`, `bert/block${i}/contract/weight`],
      })),
    );
    model.dispose();
  });

  it('GPT, which normalises first', async () => {
    const model = merak.models.gpt({ vocabularySize: 9, contextLength: 4, numLayers: 2, numHeads: 2, hiddenSize: 8 });
    const layers = await namesOf(model, { tokens: tf.zeros([2, 4], 'int32') });
    expect(layers.map(({ attention, feedForward }) => [attention.length, feedForward.length])).toEqual([
      [2, 2],
      [2, 2],
    ]);
    model.dispose();
  });

  it('separate projections, attention written out, a gated feed-forward without biases', async () => {
    const size = 6;
    const names = ['q', 'k', 'v', 'o', 'gate', 'up', 'down', 'out'];
    const [q, k, v, o, gate, up, down, out] = names.map((name) =>
      weight(name === 'down' ? 10 : size, name === 'gate' || name === 'up' ? 10 : size, `plain/${name}`),
    ) as [tf.Variable, tf.Variable, tf.Variable, tf.Variable, tf.Variable, tf.Variable, tf.Variable, tf.Variable];
    const rows = (x: tf.Tensor, w: tf.Tensor): tf.Tensor => {
      const [batch = 0, length = 0] = x.shape;
      return tf.reshape(tf.matMul(tf.reshape(x, [batch * length, -1]), w), [batch, length, -1]);
    };
    const model: merak.FunctionalModel = {
      loss: ({ x }) => tf.mean(x!),
      predict({ x }) {
        const scores = tf.matMul(tf.mul(rows(x!, q), 0.4), rows(x!, k), false, true);
        const attended = tf.add(x!, rows(tf.matMul(tf.softmax(scores), rows(x!, v)), o));
        const gated = tf.mul(tf.sigmoid(rows(attended, gate)), rows(attended, up));
        return rows(tf.add(attended, rows(gated, down)), out);
      },
    };
    expect(await namesOf(model, { x: tf.ones([2, 3, size]) })).toEqual([
      {
        attention: ['plain/q', 'plain/k', 'plain/v', 'plain/o'],
        feedForward: ['plain/gate', 'plain/up', 'plain/down'],
      },
    ]);
  });

  it('a plain tf.layers network: every dense layer but the last', async () => {
    const model = tf.sequential({
      layers: [
        tf.layers.dense({ units: 5, inputShape: [4], activation: 'relu', name: 'one' }),
        tf.layers.dense({ units: 6, activation: 'relu', name: 'two' }),
        tf.layers.dense({ units: 3, activation: 'softmax', name: 'three' }),
      ],
    });
    model.compile({ optimizer: 'sgd', loss: 'categoricalCrossentropy' });
    const layers = await namesOf(model, tf.ones([2, 4]));
    expect(layers.map(({ attention, feedForward }) => [attention.length, feedForward])).toEqual([
      [0, [expect.stringContaining('one')]],
      [0, [expect.stringContaining('two')]],
    ]);
  });

  it('refuses a model without products', async () => {
    const model: merak.FunctionalModel = { loss: ({ x }) => tf.mean(x!), predict: ({ x }) => tf.relu(x!) };
    await expect(merak.quantiser(model, { x: tf.ones([2, 2]) })).rejects.toMatchObject({ code: 'config/invalid' });
  });
});
