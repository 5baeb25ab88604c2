/** merak.models.encoderDecoder: gradient of finite differences, what it sees, decoding step by step, and the same in every layout. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import * as merak from '../../src/index.js';
import { close } from '../kernels/numeric.js';
import { maxDifference, maxRelativeDifference } from '../layouts/training.js';

const { encoderDecoder } = merak.models;
const SMALL = {
  vocabularySize: 11,
  sourceLength: 6,
  targetLength: 4,
  numEncoderLayers: 1,
  numDecoderLayers: 2,
  numHeads: 2,
  hiddenSize: 8,
} as const;
const [BEGIN, END] = [1, 2];

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const int = (rows: number[][]) => tf.tensor2d(rows, undefined, 'int32');
const batch = () => ({
  tokens: int([
    [3, 4, 5, 6, 7, 8],
    [9, 10, 3, 0, 0, 0],
  ]),
  mask: int([
    [1, 1, 1, 1, 1, 1],
    [1, 1, 1, 0, 0, 0],
  ]),
  targetTokens: int([
    [BEGIN, 4, 6, 8],
    [BEGIN, 10, 0, 0],
  ]),
  labels: int([
    [4, 6, 8, END],
    [10, END, -1, -1],
  ]),
});

describe('encoderDecoder', () => {
  it('takes the mean over labels within a sample, then over samples', () => {
    const model = encoderDecoder(SMALL);
    const data = batch();
    const logits = model.predict(data).arraySync();
    const labels = data.labels.arraySync();
    const samples = labels.map((row, i) => {
      const losses = row.flatMap((label, t) => {
        if (label < 0) return [];
        const scores = logits[i]![t]!;
        return [Math.log(scores.reduce((sum, x) => sum + Math.exp(x), 0)) - scores[label]!];
      });
      return losses.reduce((a, b) => a + b) / losses.length;
    });
    close(model.loss(data, { training: false }).dataSync(), [(samples[0]! + samples[1]!) / 2], 1e-5);
    model.dispose();
  });

  it('has the gradient of finite differences', () => {
    const model = encoderDecoder({ ...SMALL, numDecoderLayers: 1, seed: 3 });
    const data = batch();
    const loss = () => model.loss(data, { training: true });
    const { grads } = tf.variableGrads(loss, [...model.variables]);
    expect(Object.keys(grads)).toHaveLength(model.variables.length);
    for (const variable of model.variables) {
      const gradient = grads[variable.name]!.dataSync();
      const direction = Float32Array.from(gradient, Math.sign);
      const original = variable.dataSync().slice();
      const at = (step: number) => {
        const moved = original.map((w, i) => w + step * direction[i]!);
        variable.assign(tf.tensor(moved, variable.shape));
        return loss().dataSync()[0]!;
      };
      const numeric = (at(1e-4) - at(-1e-4)) / 2e-4;
      at(0);
      close([Array.from(gradient).reduce((sum, g) => sum + Math.abs(g), 0)], [numeric], 2e-2, 5e-3);
    }
    model.dispose();
  });

  it('sees no padding of the source, all of the rest, and the past of the target only', () => {
    const model = encoderDecoder(SMALL);
    const data = batch();
    const plain = model.predict(data).dataSync();
    const padded = int([
      [3, 4, 5, 6, 7, 8],
      [9, 10, 3, 5, 6, 7],
    ]);
    close(model.predict({ ...data, tokens: padded }).dataSync(), plain, 1e-6);
    const [, ...rest] = [...(data.tokens.arraySync()[0] ?? [])];
    const other = int([[10, ...rest], data.tokens.arraySync()[1]!]);
    expect(
      maxDifference(model.predict({ ...data, tokens: other }).dataSync() as Float32Array, plain as Float32Array),
    ).toBeGreaterThan(1e-6);
    const later = int([
      [BEGIN, 4, 9, 9],
      [BEGIN, 10, 9, 9],
    ]);
    const head = (targetTokens: tf.Tensor) =>
      model
        .predict({ ...data, targetTokens })
        .slice([0, 0, 0], [2, 2, 11])
        .dataSync();
    close(head(later), head(data.targetTokens), 1e-6);
    model.dispose();
  });

  it('decodes step by step what it predicts of the whole', () => {
    const model = encoderDecoder({ ...SMALL, seed: 5 });
    const data = batch();
    // Weights of size 1: a model as it begins hardly tells tokens apart.
    for (const variable of model.variables) {
      if (variable.rank === 2) variable.assign(tf.randomNormal(variable.shape, 0, 0.5, 'float32', variable.size));
    }
    const whole = model.predict(data);
    let state = model.start(data);
    for (let t = 0; t < SMALL.targetLength; t++) {
      const token = tf.reshape(data.targetTokens.slice([0, t], [2, 1]), [2]);
      const { logits, target } = model.step(state, token, tf.scalar(t, 'int32'));
      close(logits.dataSync(), whole.slice([0, t, 0], [2, 1, 11]).dataSync(), 1e-4);
      state = { ...state, target };
    }
    model.dispose();
  });

  it('refuses what does not fit', async () => {
    const model = encoderDecoder(SMALL);
    const data = batch();
    expect(() => model.loss({ ...data, tokens: tf.zeros([2, 7], 'int32') }, { training: false })).toThrow(/up to 6/);
    expect(() => model.predict({ tokens: data.tokens })).toThrow(/"targetTokens"/);
    expect(() => encoderDecoder({ ...SMALL, hiddenSize: 9 })).toThrow(/multiple of numHeads/);
    const misspelt = { ...SMALL, sourceLenght: 2 };
    expect(() => encoderDecoder(misspelt)).toThrow(/did you mean "sourceLength"/);
    await expect(
      merak.greedyDecode(model, { tokens: data.tokens }, { beginId: BEGIN, endId: END, maxLength: 5 }),
    ).rejects.toMatchObject({ code: 'config/invalid' });
    model.dispose();
  });
});

const SOURCE_LENGTH = 5;

/** Tokens 3 to 10 without a pattern. */
function sourceOf(sample: number): number[] {
  let state = Math.imul(sample + 1, 2654435761) >>> 0;
  return Array.from({ length: SOURCE_LENGTH }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 3 + (state >>> 29);
  });
}

/** The source backwards: what a decoder without attention to it cannot know. */
function reversals(numSamples: number, batchSize: number): merak.BatchSource {
  const targetLength = SOURCE_LENGTH + 1;
  const fields = { tokens: [] as number[], targetTokens: [] as number[], labels: [] as number[] };
  for (let i = 0; i < numSamples; i++) {
    const source = sourceOf(i);
    const target = source.toReversed();
    fields.tokens.push(...source);
    fields.targetTokens.push(BEGIN, ...target);
    fields.labels.push(...target, END);
  }
  const field = (name: string, values: number[], length: number) => ({
    spec: { name, shape: [length], dtype: 'int32' as const },
    data: Int32Array.from(values),
  });
  return merak.data.arraySource(
    [
      field('tokens', fields.tokens, SOURCE_LENGTH),
      field('targetTokens', fields.targetTokens, targetLength),
      field('labels', fields.labels, targetLength),
    ],
    { numSamples, batchSize, shuffle: true, seed: 1 },
  );
}

const REVERSER = {
  ...SMALL,
  sourceLength: SOURCE_LENGTH,
  targetLength: SOURCE_LENGTH + 1,
  hiddenSize: 32,
  numEncoderLayers: 2,
} as const;

async function train(options: merak.WrapOptions, { epochs = 1, dropout = 0 } = {}) {
  const model = encoderDecoder({ ...REVERSER, dropout, seed: 7 });
  const losses: number[] = [];
  const parallel = await merak.wrap(model, {
    optimizer: tf.train.adam(3e-3),
    clipNorm: 1,
    seed: 11,
    logDir: 'runs/test',
    ...options,
  });
  await parallel.fitDataset(reversals(320, 16), { epochs, verbose: 0, onStep: (_, logs) => losses.push(logs.loss!) });
  await parallel.close();
  return { model, losses };
}

let serial: ReturnType<typeof train> | undefined;

it.each([
  ['dp2', { dp: 2 }],
  ['tp2', { tp: 2 }],
  ['pp2', { pp: 2, microBatches: 4 }],
  ['pp4 x recompute', { pp: 4, microBatches: 4, recompute: 'full' }],
] as const)('makes the same 20 steps alone and with %s', async (_, options) => {
  serial ??= train({}, { dropout: 0.1 });
  const alone = await serial;
  const parallel = await train({ ...options, threadsPerWorker: 1 }, { dropout: 0.1 });
  expect(alone.losses).toHaveLength(20);
  expect(alone.losses.at(-1)!).toBeLessThan(alone.losses[0]!);
  expect(maxRelativeDifference(parallel.losses, alone.losses)).toBeLessThan(1e-5);
  for (const [i, variable] of alone.model.variables.entries()) {
    const [a, b] = [variable, parallel.model.variables[i]!].map((one) => one.dataSync() as Float32Array);
    expect(maxDifference(a!, b!), variable.name).toBeLessThan(1e-4);
  }
  parallel.model.dispose();
});

it('learns to reverse, and greedyDecode writes it', async () => {
  const { model, losses } = await train({}, { epochs: 25 });
  expect(losses.at(-1)!).toBeLessThan(0.3);
  const sources = [0, 1, 2].map(sourceOf);
  const options = { beginId: BEGIN, endId: END };
  const decoded = await merak.greedyDecode(model, { tokens: int(sources) }, { ...options, batchSize: 2 });
  const hits = decoded.flat().filter((id, i) => id === sources.flatMap((source) => source.toReversed())[i]).length;
  expect(decoded).toHaveLength(3);
  expect(hits).toBeGreaterThanOrEqual(12);
  const short = await merak.greedyDecode(model, { tokens: int(sources) }, { ...options, maxLength: 2 });
  expect(short).toEqual(decoded.map((row) => row.slice(0, 2)));
  model.dispose();
});
