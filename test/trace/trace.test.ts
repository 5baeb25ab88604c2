/** Traced graphs replayed on tfjs's CPU backend give the numbers of the model itself. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { MerakError } from '../../src/errors.js';
import type { Graph } from '../../src/graph/graph.js';
import { replayGraph } from '../../src/graph/replay.js';
import { fieldsOfBatch, fieldsOfModel } from '../../src/trace/fields.js';
import type { Batch, Trace, TraceMode, UserModel } from '../../src/trace/model.js';
import { traceModel } from '../../src/trace/trace.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const BATCH = 3;

/** Data for the model's fields. */
function sampleBatch(model: tf.LayersModel, batchSize = BATCH): Record<string, tf.Tensor> {
  return Object.fromEntries(
    fieldsOfModel(model).map(({ name, shape, dtype }, index) => [
      name,
      tf.randomUniform([batchSize, ...shape], 0.1, 0.9, 'float32', index + 1).cast(dtype),
    ]),
  );
}

function replayed(trace: Trace, batch: Batch): Record<string, number[]> {
  const inputs = Object.fromEntries(trace.graph.inputs.map(({ name }) => [name, batch[name]!]));
  const { outputs } = replayGraph(trace.graph, { inputs, parameters: trace.variables });
  return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, [...tensor.dataSync()]]));
}

function expectClose(actual: readonly number[], expected: ArrayLike<number>, tolerance = 1e-5): void {
  expect(actual).toHaveLength(expected.length);
  actual.forEach((value, index) => {
    expect(Math.abs(value - expected[index]!)).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(expected[index]!)));
  });
}

function trace(model: UserModel, mode: TraceMode, batch: Batch): Trace {
  return traceModel(model, mode, fieldsOfBatch(batch), BATCH);
}

/** predict and evaluate of the replayed traces against the model's own. */
function checkModel(model: tf.LayersModel, loss = 'meanSquaredError', metrics: string[] = []): Graph {
  model.compile({ optimizer: 'sgd', loss, metrics });
  const batch = sampleBatch(model);
  const inputs = model.inputNames.map((name) => batch[name]!);
  const targets = model.outputNames.map((name) => batch[`target/${name}`]!);
  const own = model.predict(inputs);
  const predicted = replayed(trace(model, 'predict', batch), batch);
  (Array.isArray(own) ? own : [own]).forEach((tensor, index) => {
    expectClose(predicted[model.outputNames[index]!]!, tensor.dataSync());
  });
  const scalars = [model.evaluate(inputs, targets, { batchSize: BATCH })].flat();
  const evaluated = Object.values(replayed(trace(model, 'evaluate', batch), batch));
  scalars.forEach((scalar, index) => {
    expectClose(evaluated[index]!, scalar.dataSync());
  });
  return trace(model, 'train', batch).graph;
}

function errorOf(body: () => unknown): MerakError {
  try {
    body();
  } catch (error) {
    if (error instanceof MerakError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const { layers } = tf;

describe('traceModel on tf.layers', () => {
  it('dense, with metrics, regularisers and scopes', () => {
    const model = tf.sequential({
      layers: [
        layers.dense({ units: 5, activation: 'relu', inputShape: [4], kernelRegularizer: 'l1l2', name: 'hidden' }),
        layers.dense({ units: 3, activation: 'softmax', name: 'head' }),
      ],
    });
    const graph = checkModel(model, 'categoricalCrossentropy', ['accuracy']);
    expect(graph.outputs.map(({ name }) => name)).toEqual(['loss', 'acc']);
    expect(graph.parameters.map(({ name }) => name)).toEqual([
      'hidden/kernel',
      'hidden/bias',
      'head/kernel',
      'head/bias',
    ]);
    expect(graph.nodes.some(({ scope }) => scope === 'hidden')).toBe(true);
    expect(graph.inputs.map(({ value }) => graph.values[value]!.batchDim)).toEqual([0, 0]);
    expect(graph.parameters.every(({ value }) => graph.values[value]!.batchDim === -1)).toBe(true);
  });

  it('trains with the loss fit reports, and evaluates without the regulariser', async () => {
    const model = tf.sequential({
      layers: [layers.dense({ units: 2, inputShape: [3], kernelRegularizer: tf.regularizers.l2({ l2: 0.5 }) })],
    });
    model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
    const batch = sampleBatch(model);
    const [x, y] = [batch[model.inputNames[0]!]!, batch[`target/${model.outputNames[0]}`]!];
    const history = await model.fit(x, y, { batchSize: BATCH, epochs: 1, verbose: 0 });
    const train = replayed(trace(model, 'train', batch), batch);
    expectClose(train.loss!, [Number(history.history.loss![0])]);
    const evaluated = replayed(trace(model, 'evaluate', batch), batch);
    expect(evaluated.loss![0]).toBeLessThan(train.loss![0]!);
  });

  it('sparse labels', () => {
    const model = tf.sequential({ layers: [layers.dense({ units: 3, activation: 'softmax', inputShape: [4] })] });
    model.compile({ optimizer: 'sgd', loss: 'sparseCategoricalCrossentropy' });
    expect(fieldsOfModel(model)[1]).toMatchObject({ shape: [1], dtype: 'float32' });
    const labels = tf.tensor2d([[0], [2], [1]]);
    const x = tf.randomUniform([BATCH, 4], 0, 1, 'float32', 1);
    const expected = [model.evaluate(x, labels)].flat()[0]!.dataSync();
    for (const target of [labels, labels.toInt()]) {
      const batch = { [model.inputNames[0]!]: x, [`target/${model.outputNames[0]}`]: target };
      expectClose(replayed(trace(model, 'evaluate', batch), batch).loss!, expected);
    }
  });

  it('convolutions, pooling and upsampling', () => {
    const model = tf.sequential({
      layers: [
        layers.conv2d({ filters: 3, kernelSize: 3, activation: 'relu', inputShape: [8, 8, 2] }),
        layers.maxPooling2d({ poolSize: 2 }),
        layers.depthwiseConv2d({ kernelSize: 2, padding: 'same' }),
        layers.separableConv2d({ filters: 4, kernelSize: 2, padding: 'same' }),
        layers.upSampling2d({ size: [2, 2] }),
        layers.conv2dTranspose({ filters: 2, kernelSize: 2, strides: 2 }),
        layers.zeroPadding2d({ padding: 1 }),
        layers.cropping2D({
          cropping: [
            [1, 1],
            [2, 1],
          ],
        }),
        layers.averagePooling2d({ poolSize: 2 }),
        layers.globalAveragePooling2d({}),
        layers.dense({ units: 2 }),
      ],
    });
    checkModel(model);
  });

  it('one- and three-dimensional convolutions', () => {
    checkModel(
      tf.sequential({
        layers: [
          layers.conv1d({ filters: 3, kernelSize: 3, dilationRate: 2, inputShape: [8, 2] }),
          layers.maxPooling1d({ poolSize: 2 }),
          layers.globalMaxPooling1d({}),
        ],
      }),
    );
    checkModel(
      tf.sequential({
        layers: [
          layers.conv3d({ filters: 2, kernelSize: 2, inputShape: [4, 4, 4, 1] }),
          layers.maxPooling3d({ poolSize: 2 }),
          layers.flatten(),
        ],
      }),
    );
  });

  it('batch normalisation: statistics become updates', () => {
    const model = tf.sequential({
      layers: [layers.dense({ units: 4, inputShape: [3] }), layers.batchNormalization({ momentum: 0.5, name: 'bn' })],
    });
    const graph = checkModel(model);
    expect(graph.updates.map(({ parameter }) => graph.parameters[parameter]!.name)).toEqual([
      'bn/moving_mean',
      'bn/moving_variance',
    ]);
    expect(graph.parameters.filter(({ trainable }) => !trainable)).toHaveLength(2);
    const batch = sampleBatch(model);
    const traced = trace(model, 'train', batch);
    const { updates } = replayGraph(traced.graph, { inputs: batch, parameters: traced.variables });
    const hidden = model.layers[0]!.apply(batch[model.inputNames[0]!]!) as tf.Tensor;
    expectClose([...updates[0]!.dataSync()], hidden.mean(0).mul(0.5).dataSync());
  });

  it('normalisation, merges, several inputs and outputs', () => {
    const a = tf.input({ shape: [4], name: 'a_in' });
    const b = tf.input({ shape: [4], name: 'b_in' });
    const sum = layers.add().apply([a, b]) as tf.SymbolicTensor;
    const product = layers.multiply().apply([a, b]) as tf.SymbolicTensor;
    const joined = layers.concatenate().apply([sum, product, a]) as tf.SymbolicTensor;
    const normal = layers.layerNormalization({}).apply(joined) as tf.SymbolicTensor;
    const dot = layers.dot({ axes: 1 }).apply([sum, b]) as tf.SymbolicTensor;
    const out = layers.dense({ units: 2, activation: 'tanh' }).apply(normal) as tf.SymbolicTensor;
    const model = tf.model({ inputs: [a, b], outputs: [out, dot] });
    model.compile({ optimizer: 'sgd', loss: ['meanSquaredError', 'meanAbsoluteError'] });
    const batch = sampleBatch(model);
    const predicted = replayed(trace(model, 'predict', batch), batch);
    const own = model.predict([batch.a_in!, batch.b_in!]) as tf.Tensor[];
    own.forEach((tensor, index) => {
      expectClose(predicted[model.outputNames[index]!]!, tensor.dataSync());
    });
    const graph = trace(model, 'train', batch).graph;
    expect(graph.outputs.map(({ name }) => name)).toEqual(['loss', ...model.metricsNames.slice(1)]);
  });

  it('embedding and recurrent layers', () => {
    for (const recurrent of [
      layers.lstm({ units: 3, returnSequences: true }),
      layers.gru({ units: 3 }),
      layers.simpleRNN({ units: 3 }),
      layers.bidirectional({ layer: layers.lstm({ units: 2 }) as never, mergeMode: 'concat' }),
    ]) {
      const model = tf.sequential({
        layers: [
          layers.embedding({ inputDim: 7, outputDim: 4, inputLength: 5 }),
          recurrent,
          layers.dense({ units: 2 }),
        ],
      });
      checkModel(model);
    }
  }, 30_000);

  it('dropout becomes MerakDropout with its own number', () => {
    const model = tf.sequential({
      layers: [
        layers.dropout({ rate: 0.25, inputShape: [4, 2] }),
        layers.dense({ units: 2 }),
        layers.dropout({ rate: 0.1 }),
      ],
    });
    const graph = checkModel(model);
    const dropouts = graph.nodes.filter(({ kernel }) => kernel === 'MerakDropout');
    expect(dropouts.map(({ attrs }) => attrs)).toEqual([
      { rate: 0.25, node: 0, globalShape: [BATCH, 4, 2], offsets: [0, 0, 0], batchDim: 0 },
      { rate: 0.1, node: 1, globalShape: [BATCH, 4, 2], offsets: [0, 0, 0], batchDim: 0 },
    ]);
    expect(graph.nodes.some(({ kernel }) => kernel === 'Floor')).toBe(false);
  });

  it('dropout in recurrent layers and with a noise shape', () => {
    const lstm = tf.sequential({ layers: [layers.lstm({ units: 2, dropout: 0.5, inputShape: [3, 2] })] });
    expect(checkModel(lstm).nodes.filter(({ kernel }) => kernel === 'MerakDropout').length).toBeGreaterThan(0);
    const x = tf.ones([BATCH, 4]);
    const rowwise = (batch: Batch) => tf.dropout(batch.x!, 0.5, [batch.x!.shape[0]!, 1]).mean();
    const { graph } = trace(rowwise, 'train', { x });
    const mask = graph.nodes.find(({ kernel }) => kernel === 'MerakDropout')!;
    expect(graph.values[mask.outputs[0]!]!.shape).toEqual([BATCH, 1]);
  });

  it('noise layers draw with MerakRandom', () => {
    const model = tf.sequential({
      layers: [
        layers.gaussianNoise({ stddev: 0.3, inputShape: [4] }),
        layers.gaussianDropout({ rate: 0.2 }),
        layers.alphaDropout({ rate: 0.1 }),
        layers.dense({ units: 1 }),
      ],
    });
    const randoms = checkModel(model).nodes.filter(({ kernel }) => kernel === 'MerakRandom');
    expect(randoms.map(({ attrs }) => [attrs.node, attrs.kind, attrs.batchDim])).toEqual([
      [0, 'normal', 0],
      [1, 'normal', 0],
      [2, 'uniform', 0],
    ]);
  });

  it('ties shared layers by identity', () => {
    const input = tf.input({ shape: [3] });
    const shared = layers.dense({ units: 3 });
    const output = shared.apply(shared.apply(input)) as tf.SymbolicTensor;
    const graph = checkModel(tf.model({ inputs: input, outputs: output }));
    expect(graph.parameters).toHaveLength(2);
  });

  it('refuses what cannot be trained', () => {
    const plain = tf.sequential({ layers: [layers.dense({ units: 1, inputShape: [2] })] });
    const batch = { [fieldsOfModel(plain)[0]!.name]: tf.ones([BATCH, 2]) };
    expect(errorOf(() => trace(plain, 'train', batch)).message).toContain('not compiled');
    plain.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    expect(errorOf(() => trace(plain, 'train', batch)).path).toBe(`target/${plain.outputNames[0]}`);
  });
});

describe('traceModel on functions', () => {
  const x = () => tf.randomNormal([BATCH, 4], 0, 1, 'float32', 3);

  it('discovers variables in order of use, and ties by identity', () => {
    const w = tf.variable(tf.randomNormal([4, 2]), true, 'fn_w');
    const b = tf.variable(tf.zeros([2]), false, 'fn_b');
    const model = (batch: Batch) => {
      const y = tf.matMul(batch.x!, w).add(b);
      return { loss: tf.matMul(y, w, false, true).square().mean(), norm: w.square().sum() };
    };
    const batch = { x: x() };
    const traced = trace(model, 'train', batch);
    expect(traced.variables).toEqual([w, b]);
    expect(traced.graph.parameters.map(({ trainable }) => trainable)).toEqual([true, false]);
    const expected = model(batch);
    const actual = replayed(traced, batch);
    expectClose(actual.loss!, expected.loss.dataSync());
    expectClose(actual.norm!, expected.norm.dataSync());
  });

  it('passes the training flag and predicts', () => {
    const model = {
      loss: (batch: Batch, { training }: { training: boolean }) => batch.x!.mul(training ? 2 : 3).mean(),
      predict: (batch: Batch) => ({ doubled: batch.x!.mul(2) }),
    };
    const batch = { x: x() };
    expect(replayed(trace(model, 'train', batch), batch).loss![0]).toBeCloseTo(batch.x.mean().dataSync()[0]! * 2);
    expect(replayed(trace(model, 'evaluate', batch), batch).loss![0]).toBeCloseTo(batch.x.mean().dataSync()[0]! * 3);
    expectClose(replayed(trace(model, 'predict', batch), batch).doubled!, batch.x.mul(2).dataSync());
    expect(errorOf(() => trace(model.loss, 'predict', batch)).code).toBe('trace/model');
  });

  it('refuses random constants, unless they are seeded', () => {
    const batch = { x: x() };
    const noisy = errorOf(() => trace(({ x }) => x!.mul(tf.randomNormal([4])).mean(), 'train', batch));
    expect(noisy.code).toBe('trace/random-constant');
    expect(noisy.path).toMatch(/trace\.test\.ts:\d+:\d+/);
    const seeded = trace(({ x }) => x!.mul(tf.randomNormal([4], 0, 1, 'float32', 5)).mean(), 'train', batch);
    expect(seeded.graph.constants).toHaveLength(1);
  });

  it('refuses asynchronous, non-scalar and data-dependent losses', () => {
    const batch = { x: x() };
    const asynchronous = (async ({ x }: Batch) => x!.mean()) as never;
    expect(errorOf(() => trace(asynchronous, 'train', batch)).message).toContain('asynchronous');
    expect(errorOf(() => trace(({ x }) => x!, 'train', batch)).message).toContain('not a scalar');
    const reading = errorOf(() =>
      trace(({ x }) => (x!.sum().arraySync() === 0 ? x!.sum() : x!.mean()), 'train', batch),
    );
    expect(reading.code).toBe('trace/data-read');
  });

  it('marks values that do not depend on the batch', () => {
    const w = tf.variable(tf.ones([4, 4]), true, 'fn_batch');
    const { graph } = trace(({ x }) => tf.matMul(x!, w.transpose()).reshape([-1]).mean(), 'train', { x: x() });
    const dims = graph.nodes.map(({ kernel, outputs }) => [kernel, graph.values[outputs[0]!]!.batchDim]);
    expect(dims).toEqual([
      ['Transpose', -1],
      ['BatchMatMul', 0],
      ['Reshape', 0],
      ['Mean', -1],
    ]);
  });
});
