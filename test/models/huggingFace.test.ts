/** Weights under Hugging Face's names: tiny files with the real names, run against forward passes written out on them. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { models } from '../../src/index.js';
import {
  cutTo,
  encoderShapes,
  Forward,
  geluErf,
  geluTanh,
  makeWeights,
  type Weights,
  writeFileOf,
} from './huggingFaceReference.js';

const [VOCABULARY, HIDDEN, INNER, HEADS, LAYERS] = [23, 8, 12, 2, 2];
const LENGTH = 6;

let folder: string;
beforeAll(async () => {
  await tf.setBackend('cpu');
  folder = await mkdtemp(join(tmpdir(), 'merak-hf-'));
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

const tokens = () =>
  tf.tensor2d(
    [
      [3, 5, 7, 9, 11, 13],
      [2, 4, 6, 0, 0, 0],
    ],
    [2, LENGTH],
    'int32',
  );
const mask = () =>
  tf.tensor2d(
    [
      [1, 1, 1, 1, 1, 1],
      [1, 1, 1, 0, 0, 0],
    ],
    [2, LENGTH],
    'int32',
  );

function expectClose(received: tf.Tensor, expected: tf.Tensor, tolerance = 2e-5): void {
  expect(received.shape).toEqual(expected.shape);
  expect(tf.max(tf.abs(tf.sub(received, expected))).dataSync()[0]).toBeLessThan(tolerance);
}

/** Padding's own outputs mean nothing. */
function onTokens(x: tf.Tensor): tf.Tensor {
  return tf.mul(x, tf.expandDims(tf.cast(mask(), 'float32'), 2));
}

const shape = { vocabulary: VOCABULARY, layers: LAYERS, hidden: HIDDEN, inner: INNER } as const;
const bertShape = { ...shape, positions: 10, segments: 2, norm: 'old' } as const;
const xlmrShape = { ...shape, positions: 12, segments: 1, norm: 'new' } as const;
const heads = {
  bert: {
    'bert.pooler.dense.weight': [HIDDEN, HIDDEN],
    'bert.pooler.dense.bias': [HIDDEN],
    'cls.predictions.transform.dense.weight': [HIDDEN, HIDDEN],
    'cls.predictions.transform.dense.bias': [HIDDEN],
    'cls.predictions.transform.LayerNorm.gamma': [HIDDEN],
    'cls.predictions.transform.LayerNorm.beta': [HIDDEN],
    'cls.predictions.bias': [VOCABULARY],
  },
  xlmr: {
    'lm_head.dense.weight': [HIDDEN, HIDDEN],
    'lm_head.dense.bias': [HIDDEN],
    'lm_head.layer_norm.weight': [HIDDEN],
    'lm_head.layer_norm.bias': [HIDDEN],
    'lm_head.bias': [VOCABULARY],
  },
};

/** Hidden states and attention weights of every layer, embedding output first. */
function encode(forward: Forward, firstPosition: number, segments?: tf.Tensor) {
  const row = (name: string, ids: tf.Tensor) => tf.gather(forward.get(`embeddings.${name}_embeddings.weight`), ids);
  const positions = tf.range(firstPosition, firstPosition + LENGTH, 1, 'int32');
  const types = segments ?? tf.zeros([2, LENGTH], 'int32');
  const embedded = row('word', tokens()).add(row('position', positions)).add(row('token_type', types));
  let x = forward.norm(embedded, 'embeddings.LayerNorm');
  const hidden = [x];
  const attentions: tf.Tensor[] = [];
  const bias = tf.reshape(tf.sub(1, tf.cast(mask(), 'float32')).mul(-1e9), [2, 1, 1, LENGTH]);
  for (let layer = 0; layer < LAYERS; layer++) {
    const name = `encoder.layer.${layer}`;
    const [q, k, v] = ['query', 'key', 'value'].map((part) => forward.linear(x, `${name}.attention.self.${part}`));
    const { mixed, weights } = forward.attend(q!, k!, v!, HEADS, bias);
    attentions.push(weights);
    const attended = forward.linear(mixed, `${name}.attention.output.dense`);
    const y = forward.norm(attended.add(x), `${name}.attention.output.LayerNorm`);
    const inner = geluErf(forward.linear(y, `${name}.intermediate.dense`));
    x = forward.norm(forward.linear(inner, `${name}.output.dense`).add(y), `${name}.output.LayerNorm`);
    hidden.push(x);
  }
  return { hidden, attentions };
}

const config = {
  vocabularySize: VOCABULARY,
  numLayers: LAYERS,
  numHeads: HEADS,
  hiddenSize: HIDDEN,
  feedForwardSize: INNER,
};

describe('BERT', () => {
  const weights = makeWeights({ ...encoderShapes('bert.', bertShape), ...heads.bert });

  it('computes what the file says: logits, pooled vector, hidden states, attention', async () => {
    const file = join(folder, 'bert.safetensors');
    await writeFileOf(file, weights, 'F32', ['bert.embeddings.position_ids']);
    const model = models.bert({ ...config, contextLength: 10 });
    const { missing, unused } = await models.loadHuggingFace(model, file);
    expect([missing, unused]).toEqual([[], ['bert.embeddings.position_ids']]);
    const forward = new Forward(weights, 'bert.', 1e-12);
    const segments = tf.tensor2d(
      [
        [0, 0, 0, 1, 1, 1],
        [0, 1, 1, 0, 0, 0],
      ],
      [2, LENGTH],
      'int32',
    );
    const expected = encode(forward, 0, segments);
    const batch = { tokens: tokens(), mask: mask(), segments };
    const { hidden, attentions } = model.encoder.encode(batch, { attentions: true });
    for (const [layer, states] of expected.hidden.entries()) expectClose(onTokens(hidden[layer]!), onTokens(states));
    for (const [layer, rows] of expected.attentions.entries()) expectClose(attentions[layer]!, rows);
    const last = expected.hidden.at(-1)!;
    const { logits, pooled } = model.predict(batch);
    const first = tf.slice(last, [0, 0, 0], [2, 1, HIDDEN]);
    expectClose(pooled, tf.reshape(tf.tanh(forward.linear(first, 'pooler.dense')), [2, HIDDEN]));
    const transformed = forward.norm(
      geluErf(forward.linear(last, 'cls.predictions.transform.dense')),
      'cls.predictions.transform.LayerNorm',
    );
    const table = forward.get('embeddings.word_embeddings.weight');
    const rows = tf.matMul(tf.reshape(transformed, [2 * LENGTH, HIDDEN]), table as tf.Tensor2D, false, true);
    const reference = tf.reshape(rows.add(forward.get('cls.predictions.bias')), [2, LENGTH, VOCABULARY]);
    expectClose(onTokens(logits), onTokens(reference));
  });

  it('MiniLM without prefix and heads: the heads are reported missing, the rest is there', async () => {
    const bare = makeWeights(encoderShapes('', { ...bertShape, norm: 'new' }));
    const file = join(folder, 'minilm.safetensors');
    await writeFileOf(file, bare);
    const model = models.bert({ ...config, contextLength: 7 });
    const { missing } = await models.loadHuggingFace(model, file);
    expect(missing).toHaveLength(7);
    expect(missing).toContain('cls.predictions.bias');
    const { hidden } = encode(new Forward(bare, '', 1e-12), 0);
    expectClose(
      onTokens(model.encoder.encode({ tokens: tokens(), mask: mask() }).hidden.at(-1)!),
      onTokens(hidden.at(-1)!),
    );
    // The first layer alone, as students take it.
    const student = models.encoder({ ...config, numLayers: 1, contextLength: 7 });
    const { unused } = await models.loadHuggingFace(student, file);
    expect(unused).toHaveLength(16);
    expectClose(onTokens(student.encode({ tokens: tokens(), mask: mask() }).hidden[1]!), onTokens(hidden[1]!));
  });
});

describe('XLM-R', () => {
  it.each(['F32', 'F16', 'BF16'] as const)('in %s, positions from row 2', async (dtype) => {
    const weights = cutTo(makeWeights({ ...encoderShapes('roberta.', xlmrShape), ...heads.xlmr }), dtype);
    const file = join(folder, `xlmr-${dtype}.safetensors`);
    await writeFileOf(file, weights, dtype);
    const model = models.bert({ ...config, contextLength: 10, numSegments: 1, positionOffset: 2, epsilon: 1e-5 });
    const { missing, unused } = await models.loadHuggingFace(model, file);
    expect([missing, unused]).toEqual([['roberta.pooler.dense.weight', 'roberta.pooler.dense.bias'], []]);
    const forward = new Forward(weights, 'roberta.', 1e-5);
    const last = encode(forward, 2).hidden.at(-1)!;
    const transformed = forward.norm(geluErf(forward.linear(last, 'lm_head.dense')), 'lm_head.layer_norm');
    const table = forward.get('embeddings.word_embeddings.weight');
    const rows = tf.matMul(tf.reshape(transformed, [2 * LENGTH, HIDDEN]), table as tf.Tensor2D, false, true);
    const reference = tf.reshape(rows.add(forward.get('lm_head.bias')), [2, LENGTH, VOCABULARY]);
    expectClose(onTokens(model.logits({ tokens: tokens(), mask: mask() })), onTokens(reference));
  });
});

function gptWeights(prefix: string): Weights {
  const block = (layer: number) => ({
    [`${prefix}h.${layer}.ln_1.weight`]: [HIDDEN],
    [`${prefix}h.${layer}.ln_1.bias`]: [HIDDEN],
    [`${prefix}h.${layer}.attn.bias`]: [1, 1, 9, 9],
    [`${prefix}h.${layer}.attn.c_attn.weight`]: [HIDDEN, 3 * HIDDEN],
    [`${prefix}h.${layer}.attn.c_attn.bias`]: [3 * HIDDEN],
    [`${prefix}h.${layer}.attn.c_proj.weight`]: [HIDDEN, HIDDEN],
    [`${prefix}h.${layer}.attn.c_proj.bias`]: [HIDDEN],
    [`${prefix}h.${layer}.ln_2.weight`]: [HIDDEN],
    [`${prefix}h.${layer}.ln_2.bias`]: [HIDDEN],
    [`${prefix}h.${layer}.mlp.c_fc.weight`]: [HIDDEN, 4 * HIDDEN],
    [`${prefix}h.${layer}.mlp.c_fc.bias`]: [4 * HIDDEN],
    [`${prefix}h.${layer}.mlp.c_proj.weight`]: [4 * HIDDEN, HIDDEN],
    [`${prefix}h.${layer}.mlp.c_proj.bias`]: [HIDDEN],
  });
  return makeWeights({
    [`${prefix}wte.weight`]: [VOCABULARY, HIDDEN],
    [`${prefix}wpe.weight`]: [9, HIDDEN],
    ...Object.assign({}, ...Array.from({ length: LAYERS }, (_, layer) => block(layer))),
    [`${prefix}ln_f.weight`]: [HIDDEN],
    [`${prefix}ln_f.bias`]: [HIDDEN],
  });
}

it.each(['', 'transformer.'])('GPT-2 with prefix "%s"', async (prefix) => {
  const weights = gptWeights(prefix);
  const file = join(folder, 'gpt2.safetensors');
  await writeFileOf(file, weights);
  const model = models.gpt({
    vocabularySize: VOCABULARY,
    contextLength: 9,
    numLayers: LAYERS,
    numHeads: HEADS,
    hiddenSize: HIDDEN,
  });
  const { missing, unused } = await models.loadHuggingFace(model, file);
  expect([missing, unused]).toEqual([[], [`${prefix}h.0.attn.bias`, `${prefix}h.1.attn.bias`]]);
  const forward = new Forward(weights, prefix, 1e-5);
  const future = Array.from({ length: LENGTH * LENGTH }, (_, i) => (i % LENGTH > Math.floor(i / LENGTH) ? -1e9 : 0));
  let x: tf.Tensor = tf
    .gather(forward.get('wte.weight'), tokens())
    .add(tf.slice(forward.get('wpe.weight'), [0, 0], [LENGTH, HIDDEN]));
  for (let layer = 0; layer < LAYERS; layer++) {
    const [q, k, v] = tf.split(forward.conv1d(forward.norm(x, `h.${layer}.ln_1`), `h.${layer}.attn.c_attn`), 3, -1);
    const { mixed } = forward.attend(q!, k!, v!, HEADS, tf.tensor(future, [1, 1, LENGTH, LENGTH]));
    x = x.add(forward.conv1d(mixed, `h.${layer}.attn.c_proj`));
    const inner = geluTanh(forward.conv1d(forward.norm(x, `h.${layer}.ln_2`), `h.${layer}.mlp.c_fc`));
    x = x.add(forward.conv1d(inner, `h.${layer}.mlp.c_proj`));
  }
  const last = tf.reshape(forward.norm(x, 'ln_f'), [2 * LENGTH, HIDDEN]);
  const expected = tf.matMul(last as tf.Tensor2D, forward.get('wte.weight') as tf.Tensor2D, false, true);
  expectClose(model.logits(tokens()), tf.reshape(expected, [2, LENGTH, VOCABULARY]), 1e-4);
});

describe('folders', () => {
  const xlmr = { ...config, contextLength: 10, numSegments: 1, positionOffset: 2, epsilon: 1e-5 };
  it.each([
    ['bert', () => models.bert({ ...config, contextLength: 10, seed: 3 }), 'bert.embeddings.word_embeddings.weight'],
    ['xlm-roberta', () => models.bert({ ...xlmr, seed: 4 }), 'roberta.encoder.layer.1.attention.self.key.bias'],
    [
      'gpt2',
      () =>
        models.gpt({ vocabularySize: VOCABULARY, contextLength: 9, numLayers: 2, numHeads: 2, hiddenSize: 8, seed: 5 }),
      'h.1.attn.c_attn.weight',
    ],
    [
      'a small student',
      () => models.bert({ ...config, contextLength: 10, numRepeats: 3, bottleneckSize: 4, seed: 6 }),
      'bert.encoder.embedding_hidden_mapping_in.weight',
    ],
  ] as const)('%s comes back as it was', async (name, build, tensor) => {
    const target = join(folder, name);
    const model = build();
    await models.saveHuggingFace(model, target);
    const saved = await openSafetensors(join(target, 'model.safetensors'));
    expect([...saved.entries.keys()]).toContain(tensor);
    await saved.close();
    const opened = await models.openHuggingFace(target);
    expect(opened.config).toEqual({ ...model.config, seed: 0 });
    for (const [i, variable] of model.variables.entries())
      expect(opened.variables[i]!.dataSync()).toEqual(variable.dataSync());
  });

  it('what does not fit is refused before anything is loaded', async () => {
    const target = join(folder, 'bert');
    const refused = async (model: models.HuggingFaceModel, details: object) => {
      const before = model.variables.map((variable) => variable.dataSync().slice());
      await expect(models.loadHuggingFace(model, target)).rejects.toMatchObject({
        code: 'checkpoint/mismatch',
        ...details,
      });
      for (const [i, values] of before.entries()) expect(model.variables[i]!.dataSync()).toEqual(values);
    };
    await refused(models.encoder({ ...config, contextLength: 10, vocabularySize: 24 }), {
      expected: '[24, 8]',
      received: '[23, 8]',
    });
    await refused(models.encoder({ ...config, contextLength: 11 }), { received: '[10, 8]' });
    await refused(models.encoder({ ...config, contextLength: 10, numLayers: 3 }), {
      hint: expect.stringContaining('more layers'),
    });
    await refused(models.bert(xlmr), { hint: expect.stringContaining('positionOffset') });
    await expect(models.openHuggingFace(join(folder, 'absent'))).rejects.toMatchObject({ code: 'checkpoint/missing' });
    await writeFile(
      join(folder, 'config.json'),
      JSON.stringify({ ...JSON.parse(await readFile(join(target, 'config.json'), 'utf8')), hidden_act: 'relu' }),
    );
    await expect(models.openHuggingFace(folder)).rejects.toMatchObject({ code: 'checkpoint/mismatch' });
  });
});
