/** Two workers: gradients, states over reopenings and saves, limits, and what is refused before anything runs. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setLaunchContext } from '../../../src/config/launch.js';
import type { SpmdGroup, SpmdOptions } from '../../../src/index.js';
import * as merak from '../../../src/index.js';
import { difference, random } from './draw.js';

const OPTIONS: SpmdOptions = { workers: 2, threadsPerWorker: 1, logDir: 'runs/test' };
let group: SpmdGroup;
beforeAll(async () => {
  await tf.setBackend('cpu');
  group = await merak.spmd(OPTIONS);
});
afterAll(() => group.close());

const x = random([9, 4], 1);
const w = random([4, 3], 2);

it('differentiates through every collective as one process does', async () => {
  // Of the sum over shards of `share`, which is this function on the whole.
  const whole = (rows: tf.Tensor, weights: tf.Tensor) => {
    const y = tf.matMul(rows as tf.Tensor2D, weights as tf.Tensor2D);
    const largest = y.max(0);
    const scores = tf.matMul(y, y, false, true);
    return tf.addN([tf.logSumExp(scores, 1).sum(), y.sub(y.mean(0)).square().sum(), largest.mul([1, 2, 3]).sum()]);
  };
  const share = (rows: tf.Tensor, weights: tf.Tensor) => {
    const y = tf.matMul(rows as tf.Tensor2D, weights as tf.Tensor2D);
    const mean = merak.nn.allReduce(y.sum(0)).div(9);
    const all = merak.nn.allGather(y);
    const largest = merak.nn.allReduce(y.max(0), 'max');
    const scores = tf.matMul(y, all as tf.Tensor2D, false, true);
    const common = largest.mul([1, 2, 3]).sum().div(merak.nn.numShards());
    return tf.addN([tf.logSumExp(scores, 1).sum(), y.sub(mean).square().sum(), common]) as tf.Scalar;
  };
  const f = group.jit(
    (rows: tf.Tensor, weights: tf.Tensor) => {
      const [dRows, dWeights] = tf.grads(share)([rows, weights]);
      return { dRows: dRows!, dWeights: merak.nn.allReduce(dWeights!), loss: merak.nn.allReduce(share(rows, weights)) };
    },
    { in: [merak.shard(0)], out: { dRows: merak.shard(0) } },
  );
  const found = await f(x, w);
  const [dRows, dWeights] = tf.grads((a, b) => whole(a!, b!) as tf.Scalar)([x, w]);
  expect(difference(found.loss, whole(x, w))).toBeLessThan(1e-6);
  expect(difference(found.dRows, dRows!)).toBeLessThan(1e-5);
  expect(difference(found.dWeights, dWeights!)).toBeLessThan(1e-5);
});

it('is one worker where that is asked for, whatever the flags say', async () => {
  setLaunchContext({ mode: 'launch', flags: { dp: 2, logDir: 'runs/test' } });
  const alone = await merak.spmd({ alone: true });
  setLaunchContext(undefined);
  expect(alone.numShards).toBe(1);
  const sum = alone.jit((rows: tf.Tensor) => merak.nn.allReduce(rows.sum(0)), { in: [merak.shard(0)] });
  expect(difference(await sum(x), x.sum(0))).toBeLessThan(1e-6);
  await alone.close();
});

it('carries states over a reopening, a save and another number of workers', async () => {
  const first = group.state('first', { initial: x, placement: merak.shard(0) });
  const turn = group.jit(() => first.value.assign(first.value.mul(-2)));
  await turn();
  const second = group.state('second', { initial: tf.tensor1d([3, 4], 'int32') });
  expect(difference(await first.read(), x.mul(-2))).toBe(0);
  await turn();
  expect(await second.readArray()).toEqual(Int32Array.of(3, 4));
  const folder = join(mkdtempSync(join(tmpdir(), 'merak-test-')), 'state');
  await group.save(folder, { iteration: 7, inner: { done: [true, null] } });
  await turn();
  expect(await group.load(folder)).toEqual({ iteration: 7, inner: { done: [true, null] } });
  expect(difference(await first.read(), x.mul(4))).toBe(0);

  const alone = await merak.spmd();
  const again = alone.state('first', { shape: [9, 4], placement: merak.shard(0) });
  await alone.load(folder);
  expect(difference(await again.read(), x.mul(4))).toBe(0);
  const other = alone.state('second', { shape: [3], dtype: 'int32' });
  await expect(alone.load(folder)).rejects.toMatchObject({ code: 'checkpoint/mismatch', received: 'int32 [2]' });
  expect((await other.read()).arraySync()).toEqual([0, 0, 0]);
  await alone.close();

  const { tensors, progress } = await merak.loadState(folder);
  expect(progress.iteration).toBe(7);
  expect(difference(tensors.first!, x.mul(4))).toBe(0);
  writeFileSync(join(folder, 'state.safetensors'), 'damaged');
  await expect(merak.loadState(folder)).rejects.toMatchObject({ code: 'checkpoint/corrupt' });
});

it('saveState and loadState keep every dtype', async () => {
  const folder = join(mkdtempSync(join(tmpdir(), 'merak-test-')), 'state');
  const tensors = { a: x, b: tf.tensor1d([1, 0], 'bool'), c: tf.scalar(-5, 'int32') };
  await merak.saveState(folder, tensors);
  const found = await merak.loadState(folder);
  expect(found.progress).toEqual({});
  for (const [name, tensor] of Object.entries(tensors)) {
    expect(found.tensors[name]!.dtype).toBe(tensor.dtype);
    expect(found.tensors[name]!.arraySync()).toEqual(tensor.arraySync());
  }
  await expect(merak.loadState(join(folder, 'none'))).rejects.toMatchObject({ code: 'checkpoint/missing' });
});

describe('limits', () => {
  it('frees the programs unused for longest, and compiles them again', async () => {
    const small = await merak.spmd({ ...OPTIONS, maxPrograms: 2 });
    const f = small.jit((y: tf.Tensor) => merak.nn.allReduce(y.sum()), { in: merak.shard(0) });
    for (const size of [4, 6, 4, 8, 4, 6]) expect((await f(tf.ones([size]))).arraySync()).toBe(size);
    expect(f.numTraces).toBe(4);
    const { measured } = await small.memory();
    expect(Object.keys(measured[0]!).filter((name) => name.startsWith('program-')).length).toBeLessThanOrEqual(3);
    await f.dispose();
    expect((await f(tf.ones([4]))).arraySync()).toBe(4);
    await small.close();
  });

  it('pushes out programs for memory, then refuses with the forecast', async () => {
    const small = await merak.spmd({ ...OPTIONS, memoryLimit: 1 << 20 });
    const f = small.jit((y: tf.Tensor2D) => tf.matMul(y, y, true), { in: merak.shard(0) });
    for (const size of [300, 310, 320, 300]) expect((await f(tf.ones([4, size]))).shape).toEqual([size, size]);
    const { planned } = await small.memory();
    expect(Math.max(...planned)).toBeLessThanOrEqual(1 << 20);
    await expect(f(tf.ones([4, 600]))).rejects.toMatchObject({ code: 'plan/out-of-memory', path: 'rank 0' });
    small.state('large', { shape: [1000, 1000], placement: merak.shard(0) });
    const error = await f(tf.ones([4, 300])).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'plan/out-of-memory' });
    expect((error as merak.MerakError).received).toContain("state 'large' 2.0 MB");
    await small.close();
  });
});

describe('refuses', () => {
  const rejected = async (run: () => Promise<unknown>): Promise<merak.MerakError> => {
    const error = await run().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(merak.MerakError);
    return error as merak.MerakError;
  };

  it('fewer rows than workers, and results that do not fit together', async () => {
    const f = group.jit((y: tf.Tensor) => y, { in: merak.shard(0) });
    expect(await rejected(() => f(tf.ones([1, 3])))).toMatchObject({ code: 'config/invalid', received: '[1, 3]' });
    const uneven = await rejected(() => f(tf.ones([3])));
    expect(uneven).toMatchObject({ code: 'config/invalid', path: 'tensor 0 of the result' });
    expect(uneven.received).toBe('float32 [2]; float32 [1]');
  });

  it('shards that do not meet', async () => {
    const skips = group.jit((y: tf.Tensor) => (merak.nn.axisIndex() === 0 ? merak.nn.allReduce(y) : y.mul(2)));
    expect(await rejected(() => skips(x))).toMatchObject({ code: 'trace/model', received: 'none (shard 1)' });
    const differs = group.jit((y: tf.Tensor) => (merak.nn.axisIndex() === 0 ? y : [y]) as tf.Tensor);
    expect((await rejected(() => differs(x))).message).toContain('different structures');
    const sizes = group.jit((y: tf.Tensor) => merak.nn.allReduce(y), { in: merak.shard(0) });
    expect((await rejected(() => sizes(tf.ones([3])))).received).toContain('float32 [1]');
  });

  it('what a shard cannot know or keep', async () => {
    const dynamic = group.jit((y: tf.Tensor1D) => tf.unique(y).values);
    expect((await rejected(() => dynamic(tf.tensor1d([1, 1])))).code).toBe('trace/dynamic-shape');
    const variable = tf.variable(tf.scalar(1));
    const assigns = group.jit(() => variable.assign(tf.add(variable, 1)));
    expect((await rejected(() => assigns())).hint).toContain('group.state');
    const creates = group.jit(() => tf.add(tf.variable(tf.scalar(1)), 1));
    expect((await rejected(() => creates())).message).toContain('creates variables');
    const state = group.state('kept', { shape: [2] });
    expect(() => state.value).toThrow(/outside of its group/);
    expect(() => group.state('kept', { shape: [2] })).toThrow(/same name/);
    await expect(state.write(tf.ones([3]))).rejects.toMatchObject({ code: 'config/invalid' });
    const reads = group.jit(() => tf.scalar(state.value.dataSync()[0]!));
    expect((await rejected(() => reads())).code).toBe('trace/data-read');
    expect(() => group.state('narrow', { shape: [1], placement: merak.shard(0) })).toThrow(/cannot be cut/);
    const integers = group.jit((y: tf.Tensor) => merak.nn.allReduce(y));
    expect((await rejected(() => integers(tf.scalar(1, 'int32')))).hint).toContain('toFloat');
    variable.dispose();
    // None of that has ended the group.
    const f = group.jit((y: tf.Tensor) => merak.nn.allReduce(y));
    expect((await f(tf.scalar(2))).arraySync()).toBe(4);
  });

  it('kernels the engine lacks, by name; a tfjs group runs them', async () => {
    const filter = tf.ones([2, 2, 2, 1, 1], 'int32') as tf.Tensor5D;
    const convolve = (y: tf.Tensor5D) => tf.conv3d(y, filter, 1, 'valid');
    const volume = tf.range(0, 64, 1, 'int32').reshape([1, 4, 4, 4, 1]) as tf.Tensor5D;
    const error = await rejected(() => group.jit(convolve)(volume));
    expect(error).toMatchObject({ code: 'engine/unsupported', summary: 'the native engine cannot run Conv3D' });
    const tfjs = await merak.spmd({ ...OPTIONS, device: 'tfjs' });
    const kept = tfjs.state('kept', { initial: x, placement: merak.shard(0) });
    const f = tfjs.jit((y: tf.Tensor5D) => {
      kept.value.assign(kept.value.mul(2));
      return {
        convolved: convolve(y),
        rows: merak.nn.allGather(kept.value),
        sum: merak.nn.allReduce(kept.value.sum(0)),
      };
    });
    const found = await f(volume);
    expect(difference(found.convolved, convolve(volume))).toBe(0);
    expect(difference(found.rows, x.mul(2))).toBe(0);
    expect(difference(found.sum, x.mul(2).sum(0))).toBeLessThan(1e-6);
    tfjs.state('later', { shape: [1] });
    await f(volume);
    expect(difference(await kept.read(), x.mul(4))).toBe(0);
    await tfjs.close();
  });
});
