/** merak.jit itself: signatures, structures, variables, training inside, randomness, fallbacks, errors. */
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as merak from '../../../src/index.js';
import { type JitFunction, jit, nn } from '../../../src/index.js';

const opened: { dispose(): void }[] = [];
const warnings: string[] = [];
const note = (warning: Error) => warnings.push(warning.message);

beforeAll(async () => {
  await tf.setBackend('cpu');
  process.on('warning', note);
});

afterAll(() => {
  process.off('warning', note);
  for (const each of opened) each.dispose();
});

function compiled<Args extends readonly unknown[], Result>(
  fn: (...args: Args) => Result,
  options?: Parameters<typeof jit>[1],
): JitFunction<Args, Awaited<Result>> {
  const f = jit(fn, { threads: 1, ...options });
  opened.push(f);
  return f;
}

function expectClose(actual: tf.Tensor, expected: tf.Tensor, digits: number): void {
  expect(actual.shape).toEqual(expected.shape);
  const values = actual.dataSync();
  for (const [i, value] of expected.dataSync().entries()) expect(values[i]).toBeCloseTo(value, digits);
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('a random op keeps the number the caller gives it, as on plain tfjs; others are numbered in order', async () => {
  const x = tf.ones([4, 8]);
  const draws = () => [
    merak.nn.dropout(x, { rate: 0.5, training: true, node: 7 }),
    merak.nn.dropout(x, { rate: 0.5, training: true }),
    merak.nn.dropout(x, { rate: 0.5, training: true, node: 7 }),
    merak.nn.randomUniform([5]),
  ];
  const found = await compiled(draws, { seed: 3 })();
  merak.nn.setStep(0, 3);
  const expected = draws();
  merak.nn.setStep(0, 0);
  for (const [i, tensor] of found.entries()) expectClose(tensor, expected[i]!, 6);
  expect(found[0]!.arraySync()).toEqual(found[2]!.arraySync());
  expect(found[0]!.arraySync()).not.toEqual(found[1]!.arraySync());
});

describe('arguments and results', () => {
  test('nest in arrays and records; plain values pass through', async () => {
    const f = compiled((pair: [tf.Tensor, tf.Tensor], options: { scale: number; shift?: tf.Tensor }) => ({
      sum: tf.add(pair[0], pair[1]).mul(options.scale),
      parts: [pair[0], tf.tensor1d([7, 8])],
      shifted: options.shift === undefined ? null : pair[0].add(options.shift),
      name: 'pair',
    }));
    const result = await f([tf.tensor1d([1, 2]), tf.tensor1d([3, 4])], { scale: 10 });
    expect(result.sum.arraySync()).toEqual([40, 60]);
    expect(result.parts.map((part) => part.arraySync())).toEqual([
      [1, 2],
      [7, 8],
    ]);
    expect([result.shifted, result.name]).toEqual([null, 'pair']);
    const again = await f([tf.tensor1d([1, 2]), tf.tensor1d([3, 4])], { scale: 10, shift: tf.scalar(1) });
    expect(again.shifted?.arraySync()).toEqual([2, 3]);
    expect(f.numTraces).toBe(2);
  });

  test('one trace per structure, shape, dtype and plain argument', async () => {
    const f = compiled((x: tf.Tensor, times: number) => x.mul(times));
    await f(tf.ones([2]), 2);
    await f(tf.zeros([2]), 2);
    expect(f.numTraces).toBe(1);
    await f(tf.ones([3]), 2);
    await f(tf.ones([2], 'int32'), 2);
    await f(tf.ones([2]), 3);
    expect(f.numTraces).toBe(4);
  });

  test('may be disposed as soon as the call is made, and nothing is left behind', async () => {
    const f = compiled((x: tf.Tensor) => [x.add(x), x]);
    const before = tf.memory().numTensors;
    const x = tf.tensor1d([1, 2, 3]);
    const pending = f(x);
    x.dispose();
    const results = await pending;
    expect(results.map((y) => y.arraySync())).toEqual([
      [2, 4, 6],
      [1, 2, 3],
    ]);
    tf.dispose(results);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('what is no tensor structure is refused', async () => {
    const takesDate = compiled((_: unknown) => tf.scalar(1));
    await expect(takesDate(new Date())).rejects.toMatchObject({ code: 'trace/model', received: 'Date' });
    const givesPromise = compiled(async (x: tf.Tensor) => x);
    await expect(givesPromise(tf.scalar(1))).rejects.toMatchObject({ code: 'trace/model' });
    const reads = compiled((x: tf.Tensor) => x.mul(x.dataSync()[0]!));
    await expect(reads(tf.scalar(1))).rejects.toMatchObject({ code: 'trace/data-read' });
  });
});

describe('variables', () => {
  test('are read when they have changed and assigned in place', async () => {
    const total = tf.variable(tf.tensor1d([0, 0]));
    const f = compiled((x: tf.Tensor) => {
      total.assign(total.add(x) as tf.Tensor1D);
      return total.sum();
    });
    expect((await f(tf.scalar(1))).arraySync()).toBe(2);
    expect((await f(tf.scalar(1))).arraySync()).toBe(4);
    expect(total.arraySync()).toEqual([2, 2]);
    total.assign(tf.tensor1d([10, 20]));
    expect((await f(tf.scalar(1))).arraySync()).toBe(32);
    expect(total.arraySync()).toEqual([11, 21]);
  });

  test('of int32 and bool, passed as arguments too', async () => {
    const count = tf.variable(tf.scalar(1, 'int32'));
    const seen = tf.variable(tf.tensor1d([false, true], 'bool'));
    const f = compiled((counter: tf.Variable, x: tf.Tensor) => {
      counter.assign(counter.add(tf.scalar(1, 'int32')));
      seen.assign(tf.logicalOr(seen, x.greater(0)) as tf.Tensor1D);
      return seen;
    });
    expect((await f(count, tf.tensor1d([1, -1]))).arraySync()).toEqual([1, 1]);
    expect(count.arraySync()).toBe(2);
    expect(Array.from(seen.dataSync())).toEqual([1, 1]);
    const other = tf.variable(tf.scalar(40, 'int32'));
    await f(other, tf.tensor1d([1, -1]));
    expect([count.arraySync(), other.arraySync()]).toEqual([2, 41]);
  });

  test('calls made together change them one after the other', async () => {
    const v = tf.variable(tf.scalar(1));
    const double = compiled(() => v.assign(v.mul(2)));
    const increment = compiled(() => v.assign(v.add(1)));
    await Promise.all([double(), increment(), double()]);
    expect(v.arraySync()).toBe(6);
  });

  test('a function that makes a variable on every call is refused, and leaves none', async () => {
    const before = Object.keys(tf.engine().registeredVariables).length;
    const f = compiled((x: tf.Tensor) => tf.variable(x).add(1));
    await expect(f(tf.scalar(1))).rejects.toMatchObject({ code: 'trace/model' });
    // Those of the first trace have data and belong to whoever made them.
    expect(Object.keys(tf.engine().registeredVariables).length).toBe(before + 1);
  });
});

describe('training inside', () => {
  const data = () =>
    [tf.randomNormal([8, 3], 0, 1, 'float32', 1), tf.randomNormal([8, 1], 0, 1, 'float32', 2)] as const;
  const loss = (w: tf.Tensor, b: tf.Tensor, x: tf.Tensor, y: tf.Tensor) =>
    tf.mean(tf.squaredDifference(tf.add(tf.matMul(x, w), b), y)) as tf.Scalar;

  test.each([
    ['sgd', () => tf.train.sgd(0.1)],
    ['momentum', () => tf.train.momentum(0.1, 0.9)],
    ['adam', () => tf.train.adam(0.1)],
    ['adamax', () => tf.train.adamax(0.1)],
    ['rmsprop', () => tf.train.rmsprop(0.01, 0.9, 0.5)],
    ['adagrad', () => tf.train.adagrad(0.1)],
    ['adadelta', () => tf.train.adadelta(0.5)],
  ] as const)('optimizer.minimize with %s follows plain tfjs', async (_, makeOptimizer) => {
    const [x, y] = data();
    const variables = () => [tf.variable(tf.fill([3, 1], 0.5)), tf.variable(tf.zeros([1]))] as const;
    const [w, b] = variables();
    const [plainW, plainB] = variables();
    const [optimizer, plainOptimizer] = [makeOptimizer(), makeOptimizer()];
    const step = compiled(
      (xs: tf.Tensor, ys: tf.Tensor) => optimizer.minimize(() => loss(w, b, xs, ys), true, [w, b])!,
    );
    for (let i = 0; i < 4; i++) {
      const expected = plainOptimizer.minimize(() => loss(plainW, plainB, x, y), true, [plainW, plainB])!;
      expect((await step(x, y)).arraySync()).toBeCloseTo(expected.arraySync(), 4);
    }
    expectClose(w, plainW, 4);
    expect(step.numTraces).toBeLessThanOrEqual(2);
    expect(step.fallbackKernels).toEqual([]);
  });

  test('a tf.layers model, its gradients and batch statistics', async () => {
    const model = tf.sequential({
      layers: [
        tf.layers.conv2d({ inputShape: [6, 6, 1], filters: 2, kernelSize: 3, activation: 'relu' }),
        tf.layers.batchNormalization(),
        tf.layers.flatten(),
        tf.layers.dense({ units: 3 }),
      ],
    });
    const x = tf.randomNormal([4, 6, 6, 1], 0, 1, 'float32', 3);
    const f = compiled((images: tf.Tensor) => model.apply(images, { training: false }) as tf.Tensor);
    expectClose(await f(x), model.predict(x) as tf.Tensor, 4);
    const gradients = compiled((images: tf.Tensor) => {
      const { value, grads } = tf.variableGrads(
        () => tf.mean(tf.square(model.apply(images, { training: true }) as tf.Tensor)) as tf.Scalar,
      );
      return { value, grads };
    });
    const moving = model.getWeights().map((weight) => weight.dataSync().slice());
    const result = await gradients(x);
    const plain = tf.variableGrads(
      () => tf.mean(tf.square(model.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar,
    );
    expect(result.value.arraySync()).toBeCloseTo(plain.value.arraySync(), 4);
    for (const [name, gradient] of Object.entries(plain.grads)) {
      expectClose(result.grads[name]!, gradient, 3);
    }
    // Both runs have moved the statistics.
    expect(model.getWeights().some((weight, i) => weight.dataSync().some((value, k) => value !== moving[i]![k]))).toBe(
      true,
    );
  });
});

describe('shapes that depend on data', () => {
  test('each size found is traced once; gradients flow past the call, and variables change once', async () => {
    const calls = tf.variable(tf.scalar(0));
    const f = compiled((x: tf.Tensor, keys: tf.Tensor) => {
      calls.assign(calls.add(1));
      return tf.valueAndGrad((t: tf.Tensor) => {
        const { values, indices } = tf.unique(keys);
        const { values: again } = tf.unique(tf.floor(tf.div(values, 2)));
        return tf.add(tf.gather(t, indices).sum(), again.size);
      })(x);
    });
    const x = tf.tensor1d([1, 4, 1, 2]);
    const first = await f(x, tf.tensor1d([1, 4, 1, 2]));
    // Gathered 1, 4, 1, 1, and three distinct halves.
    expect(first.value.arraySync()).toBe(7 + 3);
    expect(first.grad.arraySync()).toEqual([2, 1, 1, 0]);
    expect(f.numTraces).toBe(3);
    await f(x, tf.tensor1d([5, 8, 5, 6]));
    expect(f.numTraces).toBe(3);
    await f(x, tf.tensor1d([1, 1, 1, 1]));
    expect(f.numTraces).toBe(5);
    expect(calls.arraySync()).toBe(3);
  });
});

describe('randomness', () => {
  test('merak.nn and tf.multinomial draw anew in each call, the same for the same seed', async () => {
    const body = () => ({ uniform: nn.randomUniform([50]), picks: tf.multinomial(tf.tensor2d([[0, 1, 2]]), 40) });
    const [f, g] = [compiled(body, { seed: 5 }), compiled(body, { seed: 5 })];
    const [first, second, twin] = [await f(), await f(), await g()];
    expect(first.uniform.arraySync()).not.toEqual(second.uniform.arraySync());
    expect(first.picks.arraySync()).not.toEqual(second.picks.arraySync());
    expect(twin.uniform.arraySync()).toEqual(first.uniform.arraySync());
    expect(twin.picks.arraySync()).toEqual(first.picks.arraySync());
    expect(f.numTraces).toBe(1);
  });

  test('multinomial follows its probabilities', async () => {
    const f = compiled((logits: tf.Tensor) => tf.multinomial(logits as tf.Tensor1D, 20000, 3));
    const counts = [0, 0, 0];
    for (const pick of (await f(tf.tensor1d([0, Math.log(2), Math.log(7)]))).dataSync()) counts[pick]!++;
    expect(counts.map((count) => count / 20000)).toEqual([
      expect.closeTo(0.1, 1),
      expect.closeTo(0.2, 1),
      expect.closeTo(0.7, 1),
    ]);
  });

  test('numbers drawn by tfjs while tracing are refused, seeded ones are constants', async () => {
    const drawn = compiled((x: tf.Tensor) => x.add(tf.randomUniform([2])));
    await expect(drawn(tf.scalar(1))).rejects.toMatchObject({ code: 'trace/random-constant' });
    const seeded = compiled((x: tf.Tensor) => x.add(tf.randomUniform([2], 0, 1, 'float32', 9)));
    expect((await seeded(tf.scalar(0))).arraySync()).toEqual(tf.randomUniform([2], 0, 1, 'float32', 9).arraySync());
  });
});

describe('fallbacks', () => {
  /** A max pool of int32 by a kernel that the engine has for float32 only. */
  const largest = (x: tf.Tensor, size: number): tf.Tensor =>
    tf.dilation2d(x as tf.Tensor4D, tf.zeros([size, size, 1], 'int32'), size, 'valid');

  test('a kernel the engine lacks for a dtype runs on tfjs between native parts, with one warning', async () => {
    const f = compiled((x: tf.Tensor) => {
      const pooled = largest(x.add(tf.scalar(1, 'int32')), 2);
      return { pooled, doubled: pooled.add(pooled), both: largest(pooled, 1) };
    });
    const x = tf.tensor4d([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 4, 1], 'int32');
    for (let i = 0; i < 2; i++) {
      const { pooled, doubled, both } = await f(x);
      expect(pooled.arraySync()).toEqual([[[[7], [9]]]]);
      expect(doubled.arraySync()).toEqual([[[[14], [18]]]]);
      expect(both.arraySync()).toEqual([[[[7], [9]]]]);
    }
    await turn();
    expect(f.fallbackKernels).toEqual(['Dilation2D']);
    expect(warnings.filter((warning) => warning.includes('Dilation2D'))).toHaveLength(1);
  });

  test('variables are assigned in parts too', async () => {
    const v = tf.variable(tf.zeros([1, 2, 2, 1], 'int32'));
    const f = compiled(() => {
      v.assign(v.add(largest(tf.onesLike(v), 1)));
      return v.sum();
    });
    await f();
    expect((await f()).arraySync()).toBe(8);
    expect(v.sum().arraySync()).toBe(8);
  });

  test('a function Merak cannot trace runs on tfjs as a whole, with a warning naming the kernel', async () => {
    const f = compiled((x: tf.Tensor) => tf.abs(tf.fft(tf.complex(x, tf.zerosLike(x)))));
    expect((await f(tf.tensor1d([1, 1]))).arraySync()).toEqual([2, 0]);
    await turn();
    expect(warnings.some((warning) => warning.includes('Complex'))).toBe(true);
  });
});
