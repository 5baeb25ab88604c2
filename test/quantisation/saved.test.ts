/** Saved models: what is written is what is served, int8 takes a byte, and damage is said. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import * as merak from '../../src/index.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const LENGTH = 5;
let folder: string;
let expected: Float32Array;

const bert = merak.models.bert({
  vocabularySize: 8,
  contextLength: LENGTH,
  numLayers: 2,
  numHeads: 2,
  hiddenSize: 16,
  seed: 5,
});
const model: merak.FunctionalModel = {
  loss: bert.loss,
  predict: (batch) => tf.slice(bert.predict(batch).pooled, [0, 0], [-1, 3]),
};
const WORDS = ['[PAD]', '[UNK]', 'a', 'b', 'c', 'd', 'e', 'f'];
const tokenizer = {
  version: '1.0',
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: 'WhitespaceSplit' },
  post_processor: null,
  decoder: null,
  model: { type: 'WordLevel', vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])), unk_token: '[UNK]' },
};
const texts = ['a b c', 'd e f a b c d', 'zz a', '', 'f'];
const ids = texts.map((text) => {
  const words = text.split(' ').filter((word) => word !== '');
  return Array.from({ length: LENGTH }, (_, i) => (words[i] === undefined ? 0 : Math.max(WORDS.indexOf(words[i]), 1)));
});
const mask = texts.map((text) =>
  Array.from({ length: LENGTH }, (_, i) => Number(i < text.split(' ').filter((word) => word !== '').length)),
);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-saved-'));
  const x = { tokens: tf.tensor2d(ids, undefined, 'int32'), mask: tf.tensor2d(mask, undefined, 'int32') };
  const quantiser = await merak.quantiser(model, x, { batchSize: 2 });
  await quantiser.calibrate(x, { calibrator: 'percentile', percentile: 99 });
  const quick = await quantiser.build(['full', 'ffn']);
  expected = (await ((await quick.predict(x)) as tf.Tensor).data()) as Float32Array;
  await quick.save(join(folder, 'plain'));
  await quick.save(join(folder, 'labelled'), {
    tokenizer,
    text: { field: 'tokens', maskField: 'mask' },
    labels: { names: ['red', 'green', 'blue'] },
  });
  quick.close();
});
afterAll(async () => {
  bert.dispose();
  await rm(folder, { recursive: true });
});

describe('openSaved', () => {
  it('gives the very numbers of the model that was saved', async () => {
    const saved = await merak.openSaved(join(folder, 'plain'));
    expect(saved.layers.map(({ mode }) => mode)).toEqual(['full', 'ffn']);
    const answers = await saved.answer(ids.map((tokens, i) => ({ tokens, mask: mask[i] })));
    expect(answers).toEqual(texts.map((_, i) => ({ outputs: { output: [...expected.slice(3 * i, 3 * i + 3)] } })));
    expect(await saved.answer([])).toEqual([]);
    saved.close();
  });

  it('stores quantised weights in a byte each', async () => {
    const file = await openSafetensors(join(folder, 'plain/model.safetensors'));
    const entry = file.entries.get('bert/block0/qkv/weight.int8');
    expect(entry).toMatchObject({ dtype: 'I8', shape: [16, 48] });
    expect(entry!.data_offsets[1] - entry!.data_offsets[0]).toBe(16 * 48);
    expect([...file.entries.keys()].filter((name) => name.endsWith('.int8'))).toHaveLength(6);
    expect(file.entries.has('bert/block0/qkv/weight')).toBe(false);
    expect(file.entries.get('bert/block1/qkv/weight')).toMatchObject({ dtype: 'F32' });
    await file.close();
  });

  it('names the record that does not fit', async () => {
    const saved = await merak.openSaved(join(folder, 'plain'));
    await expect(saved.answer([{ tokens: ids[0], mask: mask[0] }, { tokens: [1, 2] }])).rejects.toMatchObject({
      code: 'config/batch',
      path: 'record 2, field tokens',
    });
    await expect(saved.answer([null])).rejects.toMatchObject({ code: 'config/batch' });
    saved.close();
  });

  it('refuses what is damaged or absent', async () => {
    await expect(merak.openSaved(join(folder, 'nothing'))).rejects.toMatchObject({ code: 'checkpoint/missing' });
    const weights = await readFile(join(folder, 'plain/model.safetensors'));
    const manifest = await readFile(join(folder, 'plain/model.json'), 'utf8');
    try {
      const flipped = Buffer.from(weights);
      flipped[flipped.length - 3]! ^= 1;
      await writeFile(join(folder, 'plain/model.safetensors'), flipped);
      await expect(merak.openSaved(join(folder, 'plain'))).rejects.toMatchObject({ code: 'checkpoint/corrupt' });
      await writeFile(join(folder, 'plain/model.safetensors'), weights);
      for (const damaged of ['{}', manifest.slice(0, -5), manifest.replace('"inputs":[', '"inputs":[-1,')]) {
        await writeFile(join(folder, 'plain/model.json'), damaged);
        await expect(merak.openSaved(join(folder, 'plain'))).rejects.toMatchObject({ code: 'checkpoint/corrupt' });
      }
    } finally {
      await writeFile(join(folder, 'plain/model.safetensors'), weights);
      await writeFile(join(folder, 'plain/model.json'), manifest);
    }
  });

  it('is smaller than the float model', async () => {
    const floats = bert.variables.reduce((sum, { size }) => sum + 4 * size, 0);
    expect((await stat(join(folder, 'plain/model.safetensors'))).size).toBeLessThan(0.75 * floats);
  });
});

describe('merak predict', () => {
  const predict = (input: string, lines: string) =>
    spawnSync(process.execPath, [join(ROOT, 'bin/merak.mjs'), 'predict', join(folder, 'labelled'), '--input', input], {
      input: lines,
      encoding: 'utf8',
      timeout: 60_000,
    });

  it('answers lines in order, from a file or standard input', async () => {
    const lines = `${texts.map((text, i) => JSON.stringify(i % 2 === 0 ? text : { text })).join('\n')}\n`;
    await writeFile(join(folder, 'lines.jsonl'), lines);
    const piped = predict('-', lines);
    expect(piped.stderr).toBe('');
    const answers = piped.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(answers).toHaveLength(texts.length);
    answers.forEach(({ label, scores }, i) => {
      const logits = [...expected.slice(3 * i, 3 * i + 3)];
      const names = ['red', 'green', 'blue'];
      expect(label).toBe(names[logits.indexOf(Math.max(...logits))]);
      const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
      for (const [j, name] of names.entries()) expect(scores[name]).toBeCloseTo(Math.exp(logits[j]!) / total, 6);
    });
    expect(predict(join(folder, 'lines.jsonl'), '').stdout).toBe(piped.stdout);
  });

  it('names the line that is wrong', () => {
    const bad = predict('-', '"a"\n{"text": \n');
    expect(bad.status).toBe(1);
    expect(bad.stderr).toContain('standard input:2');
    expect(predict('-', '\n\n5\n').stderr).toContain('record 3');
    expect(predict('/nowhere.jsonl', '').stderr).toContain('/nowhere.jsonl');
  });
});
