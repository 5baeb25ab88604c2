/** The methods of a wrapped model, as tfjs users know them. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import * as merak from '../../src/index.js';
import { maxRelativeDifference, syntheticText } from '../layouts/training.js';

let folder: string;
beforeAll(async () => {
  await tf.setBackend('cpu');
  folder = await mkdtemp(join(tmpdir(), 'merak-api-'));
});
afterAll(() => rm(folder, { recursive: true }));

function classifier(): tf.LayersModel {
  const model = tf.sequential({
    layers: [
      tf.layers.dense({
        units: 12,
        inputShape: [6],
        activation: 'tanh',
        kernelInitializer: tf.initializers.glorotUniform({ seed: 1 }),
      }),
      tf.layers.batchNormalization(),
      tf.layers.dense({
        units: 3,
        activation: 'softmax',
        kernelInitializer: tf.initializers.glorotUniform({ seed: 2 }),
      }),
    ],
  });
  model.compile({ optimizer: tf.train.momentum(0.1, 0.9), loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
  return model;
}

/** 50 samples: no batch size used below divides it. */
function samples() {
  const x = tf.randomNormal([50, 6], 0, 1, 'float32', 9) as tf.Tensor2D;
  const y = tf.oneHot(tf.argMax(x.slice([0, 0], [50, 3]), 1) as tf.Tensor1D, 3).toFloat() as tf.Tensor2D;
  return { x, y };
}

describe('a tf.layers model', () => {
  it('fit: history, callbacks, validation split, remainders; the user model holds the result', async () => {
    const { x, y } = samples();
    const model = classifier();
    const before = model.getWeights().map((weight) => weight.dataSync().slice());
    const calls: string[] = [];
    const parallel = await merak.wrap(model);
    const history = await parallel.fit(x, y, {
      batchSize: 16,
      epochs: 3,
      verbose: 0,
      validationSplit: 0.2,
      callbacks: {
        onTrainBegin: () => void calls.push('train'),
        onEpochBegin: (epoch) => void calls.push(`epoch ${epoch}`),
        onBatchEnd: (batch, logs) => void calls.push(`batch ${batch} of ${logs!.size}`),
        onTrainEnd: () => void calls.push('end'),
      },
    });
    const epoch = ['batch 0 of 16', 'batch 1 of 16', 'batch 2 of 8'];
    expect(calls).toEqual(['train', 'epoch 0', ...epoch, 'epoch 1', ...epoch, 'epoch 2', ...epoch, 'end']);
    expect(history.epoch).toEqual([0, 1, 2]);
    expect(Object.keys(history.history).sort()).toEqual(['acc', 'loss', 'val_acc', 'val_loss']);
    expect(history.history.loss![2]).toBeLessThan(history.history.loss![0]!);
    model.getWeights().forEach((weight, i) => {
      expect(weight.dataSync()).not.toEqual(before[i]);
    });
    await parallel.close();
  });

  it('evaluate and predict agree with the model itself, whatever the batch size', async () => {
    const { x, y } = samples();
    const model = classifier();
    const parallel = await merak.wrap(model);
    const [loss, accuracy] = (await parallel.evaluate(x, y, { batchSize: 16 })) as tf.Scalar[];
    const [expectedLoss, expectedAccuracy] = model.evaluate(x, y, { batchSize: 16 }) as tf.Scalar[];
    expect(parallel.metricsNames).toEqual(['loss', 'acc']);
    expect(loss!.dataSync()[0]).toBeCloseTo(expectedLoss!.dataSync()[0]!, 5);
    expect(accuracy!.dataSync()[0]).toBeCloseTo(expectedAccuracy!.dataSync()[0]!, 6);
    const predicted = (await parallel.predict(x, { batchSize: 16 })) as tf.Tensor;
    const expected = model.predict(x) as tf.Tensor;
    expect(predicted.shape).toEqual([50, 3]);
    expect(tf.max(tf.abs(tf.sub(predicted, expected))).dataSync()[0]).toBeLessThan(1e-5);
    await parallel.close();
  });

  it('tf.callbacks.earlyStopping stops training', async () => {
    const { x, y } = samples();
    const parallel = await merak.wrap(classifier());
    const callbacks = tf.callbacks.earlyStopping({ monitor: 'val_loss', patience: 0, minDelta: 100 });
    const history = await parallel.fit(x, y, { epochs: 9, verbose: 0, validationData: [x, y], callbacks });
    expect(history.epoch).toEqual([0, 1]);
    await parallel.close();
  });

  it('a second fit trains again, as in tfjs', async () => {
    const { x, y } = samples();
    const parallel = await merak.wrap(classifier());
    const first = await parallel.fit(x, y, { epochs: 1, verbose: 0 });
    const second = await parallel.fit(x, y, { epochs: 1, verbose: 0 });
    expect(second.epoch).toEqual([0]);
    expect(second.history.loss![0]).toBeLessThan(first.history.loss![0]!);
    await parallel.close();
  });

  it('fitDataset takes a tf.data.Dataset', async () => {
    const { x, y } = samples();
    const dataset = tf.data.zip({ xs: tf.data.array(tf.unstack(x)), ys: tf.data.array(tf.unstack(y)) }).batch(16);
    const parallel = await merak.wrap(classifier());
    const history = await parallel.fitDataset(dataset as never, {
      epochs: 2,
      verbose: 0,
      validationData: dataset as never,
    });
    expect(history.history.val_loss).toHaveLength(2);
    await parallel.close();
  });

  it('saves in tfjs format', async () => {
    const { x } = samples();
    const model = classifier();
    const parallel = await merak.wrap(model);
    const path = join(folder, 'saved');
    await parallel.save(path);
    const topology = JSON.parse(await readFile(join(path, 'model.json'), 'utf8'));
    const weightData = (await readFile(join(path, 'weights.bin'))).buffer as ArrayBuffer;
    const loaded = await tf.loadLayersModel(
      tf.io.fromMemory({ ...topology, weightSpecs: topology.weightsManifest[0].weights, weightData }),
    );
    expect(tf.max(tf.abs(tf.sub(loaded.predict(x) as tf.Tensor, model.predict(x) as tf.Tensor))).dataSync()[0]).toBe(0);
    await parallel.close();
  });

  // The last batch has 2 samples, fewer than replicas x micro-batches; or 1, which both replicas see and drop alike.
  it.each([50, 49])('trains in parallel with remainders as in one process: %d samples', async (count) => {
    const [x, y] = [samples().x.slice([0, 0], [count, 6]), samples().y.slice([0, 0], [count, 3])];
    const train = async (options: merak.WrapOptions) => {
      const model = tf.sequential({
        layers: [
          tf.layers.dense({
            units: 8,
            inputShape: [6],
            activation: 'tanh',
            kernelInitializer: tf.initializers.glorotUniform({ seed: 1 }),
          }),
          tf.layers.dropout({ rate: 0.3 }),
          tf.layers.dense({
            units: 3,
            activation: 'softmax',
            kernelInitializer: tf.initializers.glorotUniform({ seed: 2 }),
          }),
        ],
      });
      model.compile({ optimizer: 'adam', loss: 'categoricalCrossentropy' });
      const parallel = await merak.wrap(model, { ...options, logDir: 'runs/test' });
      const losses: number[] = [];
      const callbacks = { onBatchEnd: (_: number, logs?: tf.Logs) => void losses.push(logs!.loss as number) };
      await parallel.fit(x, y, { batchSize: 16, epochs: 2, verbose: 0, callbacks });
      await parallel.close();
      return losses;
    };
    const serial = await train({});
    expect(serial).toHaveLength(8);
    const parallel = await train({ dp: 2, pp: 2, microBatches: 4, threadsPerWorker: 1 });
    expect(maxRelativeDifference(parallel, serial)).toBeLessThan(1e-5);
  });
});

describe('checkpoints', () => {
  const config = {
    vocabularySize: 251,
    contextLength: 16,
    numLayers: 2,
    numHeads: 2,
    hiddenSize: 16,
    dropout: 0.1,
    seed: 4,
  };
  const wrapGpt = (options: merak.WrapOptions) =>
    merak.wrap(merak.models.gpt(config), {
      optimizer: tf.train.adam(1e-2),
      logDir: 'runs/test',
      threadsPerWorker: 1,
      seed: 2,
      ...options,
    });

  async function steps(parallel: merak.ParallelModel, from: number, to: number): Promise<number[]> {
    const losses: number[] = [];
    const callbacks = {
      onBatchEnd: (index: number, logs?: tf.Logs) => {
        expect(index).toBe(from + losses.length);
        losses.push(logs!.loss as number);
      },
    };
    await parallel.fitDataset(syntheticText(), { verbose: 0, callbacks, stopWhen: (step) => step >= to });
    return losses;
  }

  it('resume in another layout with the next batch and the next random numbers', async () => {
    const path = join(folder, 'checkpoint');
    const whole = await wrapGpt({});
    const expected = await steps(whole, 0, 8);
    await whole.close();

    const first = await wrapGpt({ tp: 2 });
    const begun = await steps(first, 0, 4);
    await first.checkpoint(path);
    await first.close();

    const second = await wrapGpt({ pp: 2, microBatches: 4 });
    await second.restore(path);
    const resumed = await steps(second, 4, 8);
    await second.close();
    expect(maxRelativeDifference([...begun, ...resumed], expected)).toBeLessThan(1e-5);

    // The same layout goes on with the same bits.
    const again = await wrapGpt({ tp: 2 });
    await again.restore(path);
    const once = await steps(again, 4, 8);
    await again.close();
    const more = await wrapGpt({ tp: 2 });
    await more.restore(path);
    expect(await steps(more, 4, 8)).toEqual(once);
    await more.close();
  });

  it('are safetensors with logical shapes', async () => {
    const file = await openSafetensors(join(folder, 'checkpoint', 'weights.safetensors'));
    const shapes = [...file.entries.values()].map(({ shape }) => shape.join('x'));
    expect(shapes).toContain('251x16');
    await file.close();
  });

  it('refuse damage: flipped bit, cut file, missing index, another model', async () => {
    const path = join(folder, 'damaged');
    const parallel = await wrapGpt({});
    await steps(parallel, 0, 1);
    const weights = join(path, 'weights.safetensors');
    await parallel.checkpoint(path);
    const bytes = await readFile(weights);
    const flipped = Buffer.from(bytes);
    flipped[bytes.length - 5]! ^= 1;
    await writeFile(weights, flipped);
    await expect(parallel.restore(path)).rejects.toMatchObject({ code: 'checkpoint/corrupt' });
    await writeFile(weights, bytes.subarray(0, bytes.length / 2));
    await expect(parallel.restore(path)).rejects.toMatchObject({ code: 'checkpoint/corrupt' });
    await expect(parallel.restore(join(folder, 'nothing'))).rejects.toMatchObject({ code: 'checkpoint/missing' });
    await parallel.checkpoint(path);
    const other = await merak.wrap(merak.models.gpt({ ...config, hiddenSize: 32 }), { optimizer: tf.train.adam(1e-2) });
    await other.restore(path);
    await expect(steps(other, 0, 1)).rejects.toMatchObject({ code: 'checkpoint/mismatch' });
    await other.close();
    await parallel.close();
  });

  it('leave the old one whole when a save fails', async () => {
    const parallel = await wrapGpt({});
    await steps(parallel, 0, 1);
    // A file stands where the folder should go.
    await writeFile(join(folder, 'file'), 'not a folder');
    await expect(parallel.checkpoint(join(folder, 'file', 'checkpoint'))).rejects.toMatchObject({
      code: 'checkpoint/write',
    });
    await parallel.close();
  });
});

describe('merak.lazy', () => {
  it('builds a model of 20 billion parameters without allocating it', () => {
    const residentBefore = process.memoryUsage().rss;
    const model = merak.lazy(() =>
      merak.models.gpt({ vocabularySize: 50257, contextLength: 2048, numLayers: 44, numHeads: 48, hiddenSize: 6144 }),
    );
    expect(model.variables.reduce((sum, { size }) => sum + size, 0)).toBeGreaterThan(20e9);
    expect(process.memoryUsage().rss - residentBefore).toBeLessThan(300e6);
  });

  it('starts from the same numbers in every layout', async () => {
    const build = () =>
      merak.lazy(() =>
        merak.models.gpt({
          vocabularySize: 251,
          contextLength: 16,
          numLayers: 2,
          numHeads: 2,
          hiddenSize: 32,
          seed: 1,
        }),
      );
    const train = async (options: merak.WrapOptions) => {
      const parallel = await merak.wrap(build(), {
        optimizer: tf.train.adam(1e-3),
        logDir: 'runs/test',
        threadsPerWorker: 1,
        ...options,
      });
      const losses: number[] = [];
      const callbacks = { onBatchEnd: (_: number, logs?: tf.Logs) => void losses.push(logs!.loss as number) };
      await parallel.fitDataset(syntheticText(), { verbose: 0, callbacks, stopWhen: (step) => step >= 3 });
      await parallel.close();
      return losses;
    };
    const serial = await train({});
    expect(maxRelativeDifference(await train({ tp: 2 }), serial)).toBeLessThan(1e-5);
  });
});
