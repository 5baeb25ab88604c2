/** The cache of compiled programs: bounded, and what leaves it is freed. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { LeastRecentlyUsed } from '../../../src/api/jit/cache.js';
import * as merak from '../../../src/index.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

it('keeps what a list ordered by use keeps, and frees each of the others once', () => {
  const actions = fc.array(fc.record({ key: fc.nat(5), reads: fc.boolean() }), { maxLength: 40 });
  fc.assert(
    fc.property(actions, fc.integer({ min: 1, max: 4 }), (list, max) => {
      const freed: number[] = [];
      const cache = new LeastRecentlyUsed<number>(max, (value) => freed.push(value));
      let model: { key: string; value: number }[] = [];
      const gone: number[] = [];
      list.forEach(({ key: number, reads }, time) => {
        const key = String(number);
        const known = model.find((entry) => entry.key === key);
        if (reads) {
          expect(cache.get(key)).toBe(known?.value);
          if (known !== undefined) model = [...model.filter((entry) => entry !== known), known];
          return;
        }
        cache.set(key, time);
        if (known !== undefined) gone.push(known.value);
        model = [...model.filter((entry) => entry !== known), { key, value: time }];
        if (model.length > max) gone.push(model.shift()!.value);
      });
      expect(freed).toEqual(gone);
      expect(cache.values()).toEqual(model.map(({ value }) => value));
    }),
  );
});

it('compiles a signature again after it was pushed out, and no sooner', async () => {
  const double = merak.jit((x: tf.Tensor) => x.mul(2), { maxPrograms: 2 });
  const sizes = [1, 2, 1, 3, 1, 2];
  const traces: number[] = [];
  for (const size of sizes) {
    expect(Array.from((await double(tf.ones([size]))).dataSync())).toEqual(new Array(size).fill(2));
    traces.push(double.numTraces);
  }
  expect(traces).toEqual([1, 2, 2, 3, 3, 4]);
  double.dispose();
  expect(() => merak.jit((x: tf.Tensor) => x, { maxPrograms: 0 })).toThrow(/config\/invalid/);
});
