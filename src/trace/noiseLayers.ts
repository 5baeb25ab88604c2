/** tf.layers' noise layers in terms of MerakRandom, so that their noise is drawn anew each step and the same in any layout. */
import * as tf from '@tensorflow/tfjs';
import { patch } from './patch.js';

type Layer = tf.layers.Layer;
type Noised = (layer: Layer, input: tf.Tensor) => tf.Tensor;

function draw(shape: readonly number[], kind: 'normal' | 'uniform', a: number, b: number): tf.Tensor {
  // The node number, the batch dim and the place in the whole are filled in when the trace is complete.
  const placement = { node: 0, globalShape: [...shape], offsets: shape.map(() => 0), batchDim: -1 };
  return tf.engine().runKernel<tf.Tensor>('MerakRandom', {}, { shape: [...shape], kind, a, b, ...placement });
}

function config(layer: Layer, name: string): number {
  return Number(layer.getConfig()[name]);
}

const gaussianNoise: Noised = (layer, input) => tf.add(draw(input.shape, 'normal', 0, config(layer, 'stddev')), input);

const gaussianDropout: Noised = (layer, input) => {
  const rate = config(layer, 'rate');
  if (rate <= 0 || rate >= 1) return input;
  return tf.mul(input, draw(input.shape, 'normal', 1, Math.sqrt(rate / (1 - rate))));
};

/** Self-normalizing dropout: Klambauer et al., "Self-Normalizing Neural Networks", 2017, section on alpha dropout. */
const alphaDropout: Noised = (layer, input) => {
  const rate = config(layer, 'rate');
  if (rate <= 0 || rate >= 1) return input;
  const saturation = -1.6732632423543772 * 1.0507009873554805;
  const scale = ((1 - rate) * (1 + rate * saturation ** 2)) ** -0.5;
  const shift = -scale * saturation * rate;
  const kept = tf.cast(tf.greaterEqual(draw(input.shape, 'uniform', 0, 1), rate), 'float32');
  const mixed = tf.add(tf.mul(input, kept), tf.mul(tf.sub(1, kept), saturation));
  return tf.add(tf.mul(mixed, scale), shift);
};

/** Names given so that making these samples does not advance tf.layers' counters. */
const NOISE_LAYERS: readonly (readonly [() => Layer, Noised])[] = [
  [() => tf.layers.gaussianNoise({ stddev: 1, name: 'merak_gaussian_noise' }), gaussianNoise],
  [() => tf.layers.gaussianDropout({ rate: 0.5, name: 'merak_gaussian_dropout' }), gaussianDropout],
  [() => tf.layers.alphaDropout({ rate: 0.5, name: 'merak_alpha_dropout' }), alphaDropout],
];

/** Patches for `patched`: while applied, the noise layers' `call` in training draws with MerakRandom. */
export function noiseLayerPatches(): (() => () => void)[] {
  return NOISE_LAYERS.map(([make, noised]) => () => {
    const prototype: Layer = Object.getPrototypeOf(make());
    return patch(prototype, 'call', (call) => {
      return function (this: Layer, inputs, kwargs) {
        const input = Array.isArray(inputs) ? inputs[0] : inputs;
        if (kwargs.training !== true || input === undefined) return call.call(this, inputs, kwargs);
        return tf.tidy(() => noised(this, input));
      };
    });
  });
}
