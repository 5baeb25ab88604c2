/** merak.models.gpt on plain tfjs: it learns, its gradient is that of finite differences, its weights follow the seed. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { gpt } from '../../src/models/gpt.js';
import { setStep } from '../../src/nn/random.js';
import { close } from '../kernels/numeric.js';

const SMALL = { vocabularySize: 11, contextLength: 6, numLayers: 2, numHeads: 2, hiddenSize: 8 };

beforeAll(async () => {
  await tf.setBackend('cpu');
});

function batch(length = 6) {
  const row = (shift: number) => Array.from({ length: 2 * length }, (_, i) => (3 * i + shift) % 11);
  return { tokens: tf.tensor2d(row(0), [2, length], 'int32'), targets: tf.tensor2d(row(3), [2, length], 'int32') };
}

describe('gpt', () => {
  it('starts near log V and learns with a tfjs optimizer', () => {
    const model = gpt({ ...SMALL, dropout: 0.1 });
    const data = batch();
    const optimizer = tf.train.adam(0.02);
    const losses: number[] = [];
    for (let step = 0; step < 20; step++) {
      setStep(step);
      const loss = optimizer.minimize(() => model.loss(data, { training: true }), true, [...model.variables])!;
      losses.push(loss.dataSync()[0]!);
    }
    expect(losses[0]!).toBeCloseTo(Math.log(11), 1);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 2);
    model.dispose();
  });

  it.each([true, false])('has the gradient of finite differences (tied %s)', (tiedEmbeddings) => {
    const model = gpt({ ...SMALL, numLayers: 1, tiedEmbeddings, seed: 3 });
    const data = batch();
    const loss = () => model.loss(data, { training: true });
    const { grads } = tf.variableGrads(loss, [...model.variables]);
    for (const variable of model.variables) {
      const gradient = grads[variable.name]!.dataSync();
      const direction = Float32Array.from(gradient, Math.sign);
      const original = variable.dataSync().slice();
      const at = (step: number) => {
        variable.assign(
          tf.tensor(
            original.map((w, i) => w + step * direction[i]!),
            variable.shape,
          ),
        );
        return loss().dataSync()[0]!;
      };
      const numeric = (at(2e-3) - at(-2e-3)) / 4e-3;
      at(0);
      close([Array.from(gradient).reduce((sum, g) => sum + Math.abs(g), 0)], [numeric], 3e-2, 2e-3);
    }
    model.dispose();
  });

  it('sees the past only', () => {
    const model = gpt(SMALL);
    const { tokens } = batch();
    const changed = tf.concat([tokens.slice([0, 0], [2, 4]), tf.zeros([2, 2], 'int32')], 1);
    const head = (t: tf.Tensor) => model.logits(t).slice([0, 0, 0], [2, 4, 11]).dataSync();
    close(head(changed), head(tokens), 1e-6);
    model.dispose();
  });

  it('has weights that depend on the seed alone, also beside another of its kind', () => {
    const [a, b, c] = [gpt(SMALL), gpt(SMALL), gpt({ ...SMALL, seed: 1 })];
    const weights = (m: typeof a) => m.variables.map((v) => Array.from(v.dataSync()));
    expect(weights(a)).toEqual(weights(b));
    expect(weights(a)).not.toEqual(weights(c));
    const residual = tf.moments(a.variables.find((v) => v.name.includes('block0/contract/weight'))!).variance;
    expect(Math.sqrt(residual.dataSync()[0]!)).toBeCloseTo(0.01, 2);
    for (const m of [a, b, c]) m.dispose();
  });

  it('takes shorter sequences, refuses longer ones and bad options', () => {
    const model = gpt(SMALL);
    expect(model.predict(batch(3)).shape).toEqual([2, 3, 11]);
    expect(() => model.loss(batch(7), { training: false })).toThrow(/up to 6/);
    expect(() => model.loss({ tokens: batch().tokens }, { training: false })).toThrow(/"targets"/);
    expect(() => gpt({ ...SMALL, hiddenSize: 9 })).toThrow(/multiple of numHeads/);
    const misspelt = { ...SMALL, numLayer: 2 };
    expect(() => gpt(misspelt)).toThrow(/did you mean "numLayers"/);
    model.dispose();
  });
});
