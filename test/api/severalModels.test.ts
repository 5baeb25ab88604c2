/**
 * What recipes train beside a single model: a frozen teacher, losses on hidden states and attention probabilities, parts
 * that follow each other. Against plain tfjs, alone and in parallel.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planModel } from '../../src/api/planning.js';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { parseOptions } from '../../src/config/parse.js';
import * as merak from '../../src/index.js';

const LENGTH = 10;
const BATCH = 8;
const NUM_STEPS = 6;
const SHAPE = { vocabularySize: 50, contextLength: LENGTH, numHeads: 2 } as const;
/** Of losses, relative: between layouts, and against tfjs's own kernels after up to twelve steps. */
const SAME = 1e-5;
const PLAIN = 1e-4;
const LAYOUTS = [{ dp: 2 }, { pp: 2 }, { tp: 2 }, { dp: 2, pp: 2, microBatches: 2 }] as const;

let folder: string;
beforeAll(async () => {
  await tf.setBackend('cpu');
  folder = await mkdtemp(join(tmpdir(), 'merak-several-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Sentences and their "translations" (every token shifted), padded on the right to different lengths. */
function pairs(): merak.BatchSource {
  const numSamples = BATCH * NUM_STEPS;
  const fill = (value: (sample: number, position: number) => number): Int32Array =>
    Int32Array.from({ length: numSamples * LENGTH }, (_, i) => value(Math.floor(i / LENGTH), i % LENGTH));
  const lengthOf = (sample: number) => 3 + ((sample * 5) % (LENGTH - 2));
  const token = (sample: number, position: number) => 1 + ((sample * 7 + position * position * 3) % 24);
  const inside = (sample: number, position: number) => (position < lengthOf(sample) ? 1 : 0);
  const fields = {
    tokens: fill((s, t) => inside(s, t) * token(s, t)),
    translated: fill((s, t) => inside(s, t) * (token(s, t) + 24)),
    mask: fill(inside),
  };
  const specs = Object.entries(fields).map(([name, data]) => ({
    spec: { name, shape: [LENGTH], dtype: 'int32' as const },
    data,
  }));
  return merak.data.arraySource(specs, { numSamples, batchSize: BATCH, shuffle: false, seed: 0 });
}

/** Not Adam, whose step where a gradient is nearly 0 is as long as elsewhere and has the sign of a rounding error. */
const newOptimizer = () => tf.train.momentum(0.1, 0.9);

interface Trained {
  readonly losses: number[];
  readonly values: Float32Array[];
}

async function trainMerak(
  loss: merak.LossFunction,
  variables: readonly tf.Variable[],
  options: Omit<merak.WrapOptions, 'optimizer'>,
  checkpoint?: string,
): Promise<Trained> {
  const parallel = await merak.wrap(loss, { optimizer: newOptimizer(), logDir: folder, ...options });
  const losses: number[] = [];
  try {
    await parallel.fitDataset(pairs(), { verbose: 0, onStep: (_, logs) => losses.push(logs.loss!) });
    if (checkpoint !== undefined) await parallel.checkpoint(checkpoint);
  } finally {
    await parallel.close();
  }
  return { losses, values: variables.map((variable) => variable.dataSync() as Float32Array) };
}

async function trainPlain(loss: merak.LossFunction, variables: readonly tf.Variable[]): Promise<Trained> {
  const optimizer = newOptimizer();
  const trained = variables.filter(({ trainable }) => trainable);
  const source = pairs();
  const losses: number[] = [];
  for (let step = 0; step < NUM_STEPS; step++) {
    const { fields } = (await source.batch(0, step))!;
    const value = tf.tidy(() => {
      const batch = Object.fromEntries(
        [...fields].map(([name, data]) => [name, tf.tensor(data, [BATCH, LENGTH], 'int32')]),
      );
      return optimizer.minimize(() => loss(batch, { training: true }) as tf.Scalar, true, trained)!;
    });
    losses.push(value.dataSync()[0]!);
  }
  return { losses, values: variables.map((variable) => variable.dataSync() as Float32Array) };
}

function expectSame(received: Trained, expected: Trained, what: string, tolerance = SAME): void {
  expect(received.losses).toHaveLength(expected.losses.length);
  for (const [step, loss] of expected.losses.entries()) {
    expect(Math.abs(received.losses[step]! - loss) / Math.abs(loss), `${what}, loss of step ${step}`).toBeLessThan(
      tolerance,
    );
  }
  for (const [i, values] of expected.values.entries()) {
    const worst = values.reduce((most, value, j) => Math.max(most, Math.abs(value - received.values[i]![j]!)), 0);
    expect(worst, `${what}, variable ${i}`).toBeLessThan(1e-4);
  }
}

/** One worker as plain tfjs, and every layout as one worker. */
async function expectSameInLayouts(
  build: () => { loss: merak.LossFunction; variables: readonly tf.Variable[] },
  reference: Trained,
  layouts: readonly Omit<merak.WrapOptions, 'optimizer'>[],
): Promise<void> {
  const train = (options: Omit<merak.WrapOptions, 'optimizer'>) => {
    const { loss, variables } = build();
    return trainMerak(loss, variables, options);
  };
  const alone = await train({});
  expectSame(alone, reference, 'alone', PLAIN);
  for (const options of layouts) expectSame(await train(options), alone, JSON.stringify(options));
}

/** A frozen teacher of width 16, a student of width 8 with a bottleneck and repeated blocks, and a map between the widths. */
function teacherAndStudent() {
  const teacher = merak.models.encoder({ ...SHAPE, numLayers: 2, hiddenSize: 16, seed: 1, name: 'teacher' });
  for (const variable of teacher.variables) variable.trainable = false;
  const student = merak.models.encoder({
    ...SHAPE,
    numLayers: 1,
    numRepeats: 2,
    bottleneckSize: 4,
    hiddenSize: 8,
    seed: 2,
    name: 'student',
  });
  const widen = merak.nn.variable('widen', [8, 16], { kind: 'normal', mean: 0, stddev: 0.3 }, { seed: 3 });
  const vectors = (model: merak.models.Encoder, tokens: tf.Tensor, mask: tf.Tensor) =>
    merak.models.pool('mean', model.encode({ tokens, mask }).hidden, mask);
  const loss: merak.LossFunction = ({ tokens, translated, mask }) =>
    tf.tidy(() => {
      const target = vectors(teacher, tokens!, mask!);
      const near = (field: tf.Tensor) =>
        tf.mean(tf.squaredDifference(tf.matMul(vectors(student, field, mask!), widen as tf.Tensor2D), target));
      return tf.add(near(tokens!), near(translated!));
    });
  return { loss, teacher, student, variables: [...teacher.variables, ...student.variables, widen] };
}

describe('a frozen teacher and a student in one loss', () => {
  it('trains as on plain tfjs, in every layout', async () => {
    const plain = teacherAndStudent();
    const reference = await trainPlain(plain.loss, plain.variables);
    expect(reference.losses.at(-1)).toBeLessThan(0.8 * reference.losses[0]!);
    await expectSameInLayouts(teacherAndStudent, reference, LAYOUTS);
  });

  it('leaves the teacher as it was, without moments in the checkpoint', async () => {
    const { loss, teacher, student, variables } = teacherAndStudent();
    const before = teacher.variables.map((variable) => variable.dataSync().slice());
    const checkpoint = join(folder, 'checkpoint');
    await trainMerak(loss, variables, { pp: 2 }, checkpoint);
    for (const [i, values] of before.entries()) expect(teacher.variables[i]!.dataSync()).toEqual(values);
    const moments = await openSafetensors(join(checkpoint, 'optimizer.safetensors'));
    const withMoments = new Set([...moments.entries.keys()].map((name) => name.replace(/#\d$/, '')));
    await moments.close();
    const index = JSON.parse(await readFile(join(checkpoint, 'merak.json'), 'utf8')) as {
      parameters: { name: string; trainable: boolean }[];
    };
    const trained = index.parameters.filter(({ trainable }) => trainable).map(({ name }) => name);
    expect([...withMoments].sort()).toEqual([...trained].sort());
    expect(trained).toHaveLength(student.variables.length + 1);
    expect(index.parameters).toHaveLength(variables.length);
  });

  it('gives frozen parameters neither gradients nor moments in memory', () => {
    const { loss, variables } = teacherAndStudent();
    const { fields } = pairs();
    const options = parseOptions({ workers: 1 }, 'test');
    const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: 0 } as const;
    const planned = planModel(loss, { fields, batchSize: BATCH }, options, optimizer);
    const [rank] = planned.plan.ranks;
    const trainedBytes = variables.reduce((sum, { trainable, size }) => sum + (trainable ? 4 * size : 0), 0);
    const allBytes = variables.reduce((sum, { size }) => sum + 4 * size, 0);
    const bytesOf = (name: string) => rank!.persistentSpaces.find(({ space }) => space === name)!.slotBytes[0]!;
    // Every tensor begins at a multiple of 64 bytes.
    const padding = 64 * variables.length;
    expect(bytesOf('parameters')).toBeGreaterThanOrEqual(allBytes);
    expect(bytesOf('gradients')).toBeGreaterThanOrEqual(trainedBytes);
    expect(bytesOf('gradients')).toBeLessThan(trainedBytes + padding);
    expect(bytesOf('optimizer')).toBeLessThan(2 * (trainedBytes + padding));
  });
});

it('auxiliary outputs in the loss: two streams compared by embeddings and attention probabilities', async () => {
  const build = () => {
    const model = merak.models.encoder({ ...SHAPE, numLayers: 3, hiddenSize: 8, seed: 4, name: 'streams' });
    const loss: merak.LossFunction = ({ tokens, translated, mask }) =>
      tf.tidy(() => {
        const [a, b] = [tokens!, translated!].map((field, stream) =>
          model.encode({ tokens: field, mask: mask! }, { attentions: [1], stream }),
        ) as [merak.models.Encoded, merak.models.Encoded];
        const embedded = (one: merak.models.Encoded) => merak.models.meanOverTokens(one.hidden[0]!, mask);
        const push = tf.neg(tf.mean(tf.squaredDifference(embedded(a), embedded(b))));
        const pull = tf.mean(tf.squaredDifference(a.attentions[0]!, b.attentions[0]!));
        const task = tf.mean(tf.square(merak.models.pool('cls', a.hidden).sub(0.5)));
        return { loss: tf.addN([task, tf.mul(0.1, push), pull]), push, pull, task };
      });
    return { loss, variables: model.variables };
  };
  const plain = build();
  const scalar: merak.LossFunction = (batch, options) =>
    (plain.loss(batch, options) as { readonly loss: tf.Scalar }).loss;
  await expectSameInLayouts(build, await trainPlain(scalar, plain.variables), LAYOUTS.slice(0, 2));
});

it('parts that follow each other: the second goes on from the weights of the first', async () => {
  const both = async (train: (loss: merak.LossFunction, variables: readonly tf.Variable[]) => Promise<Trained>) => {
    const model = merak.models.encoder({
      ...SHAPE,
      numLayers: 2,
      hiddenSize: 8,
      bottleneckSize: 4,
      seed: 5,
      name: 'chain',
    });
    const embedding: merak.LossFunction = ({ tokens, mask }) =>
      tf.tidy(() =>
        tf.mean(tf.square(merak.models.meanOverTokens(model.encode({ tokens: tokens! }).hidden[0]!, mask).sub(1))),
      );
    const first = await train(embedding, model.embeddingVariables);
    // The second part trains the blocks on a frozen embedding.
    for (const variable of model.embeddingVariables) variable.trainable = false;
    const whole: merak.LossFunction = ({ tokens, mask }) =>
      tf.tidy(() =>
        tf.mean(
          tf.square(merak.models.pool('last-two', model.encode({ tokens: tokens!, mask: mask! }).hidden, mask).add(1)),
        ),
      );
    const second = await train(whole, model.variables);
    return { losses: [...first.losses, ...second.losses], values: second.values };
  };
  const inLayout = (options: Omit<merak.WrapOptions, 'optimizer'>) =>
    both((loss, variables) => trainMerak(loss, variables, options));
  const alone = await inLayout({});
  expectSame(alone, await both(trainPlain), 'alone', PLAIN);
  for (const options of [{ dp: 2 }, { pp: 2 }] as const) {
    expectSame(await inLayout(options), alone, JSON.stringify(options));
  }
});
