/** The convolutional trunk: residual blocks as in ResNet-18, up to the RoI's own last stage. */
import * as tf from '@tensorflow/tfjs';
import { nn } from '../../index.js';

/** Makes variables under a common prefix and remembers them in the order of creation. */
export interface Weights {
  readonly variables: tf.Variable[];
  normal(name: string, shape: readonly number[], stddev: number): tf.Variable;
  constant(name: string, shape: readonly number[], value: number): tf.Variable;
}

export function openWeights(prefix: string, seed: number): Weights {
  const variables: tf.Variable[] = [];
  const keep = (variable: tf.Variable): tf.Variable => {
    variables.push(variable);
    return variable;
  };
  return {
    variables,
    normal: (name, shape, stddev) =>
      keep(nn.variable(`${prefix}/${name}`, shape, { kind: 'normal', mean: 0, stddev }, { seed })),
    constant: (name, shape, value) =>
      keep(nn.variable(`${prefix}/${name}`, shape, { kind: 'constant', value }, { seed })),
  };
}

export type Layer = (x: tf.Tensor) => tf.Tensor;

/** [n, i] to [n, o]. */
export function linear(weights: Weights, name: string, inputs: number, outputs: number, stddev?: number): Layer {
  const weight = weights.normal(`${name}/weight`, [inputs, outputs], stddev ?? Math.sqrt(2 / inputs));
  const bias = weights.constant(`${name}/bias`, [outputs], 0);
  return (x) => nn.dense(x, weight, bias);
}

/** Over the channels of each place: unlike batch normalisation, a sample's result does not depend on its batch. */
export function norm(weights: Weights, name: string, width: number): Layer {
  const gamma = weights.constant(`${name}/gamma`, [width], 1);
  const beta = weights.constant(`${name}/beta`, [width], 0);
  return (x) => nn.layerNorm(x, gamma, beta);
}

/** Padded so that the side shrinks by the stride alone. */
export function convolution(
  weights: Weights,
  name: string,
  { size, inputs, outputs, stride = 1 }: { size: number; inputs: number; outputs: number; stride?: number },
): Layer {
  const kernel = weights.normal(`${name}/kernel`, [size, size, inputs, outputs], Math.sqrt(2 / (size * size * inputs)));
  return (x) => tf.conv2d(x as tf.Tensor4D, kernel as unknown as tf.Tensor4D, stride, 'same');
}

/** Two 3x3 convolutions beside a shortcut (He et al. 2016, figure 2). */
export function residualBlock(weights: Weights, name: string, inputs: number, outputs: number, stride: number): Layer {
  const first = convolution(weights, `${name}/conv1`, { size: 3, inputs, outputs, stride });
  const norm1 = norm(weights, `${name}/norm1`, outputs);
  const second = convolution(weights, `${name}/conv2`, { size: 3, inputs: outputs, outputs });
  const norm2 = norm(weights, `${name}/norm2`, outputs);
  const same = inputs === outputs && stride === 1;
  const shortcut = same ? null : convolution(weights, `${name}/shortcut`, { size: 1, inputs, outputs, stride });
  return (x) => tf.relu(tf.add(norm2(second(tf.relu(norm1(first(x))))), shortcut === null ? x : shortcut(x)));
}

/** Pixels per cell of the trunk's result. */
export const STRIDE = 8;

export interface Trunk {
  /** [b, h, w, 3] of 0 to 1, to [b, h / 8, w / 8, 4 width]. */
  readonly features: Layer;
  /** Of a RoI or a whole support image: [n, s, s, 4 width] to the mean over places after the last stage, [n, 8 width]. */
  readonly embed: Layer;
}

export function trunk(weights: Weights, width: number, blocks: number): Trunk {
  const stem = convolution(weights, 'stem', { size: 3, inputs: 3, outputs: width, stride: 2 });
  const stemNorm = norm(weights, 'stem/norm', width);
  const stage = (name: string, inputs: number, outputs: number, stride: number): Layer => {
    const chain = Array.from({ length: blocks }, (_, i) =>
      residualBlock(weights, `${name}/block${i}`, i === 0 ? inputs : outputs, outputs, i === 0 ? stride : 1),
    );
    return (x) => chain.reduce((value, block) => block(value), x);
  };
  const stages = [stage('stage1', width, width, 1), stage('stage2', width, 2 * width, 2)];
  stages.push(stage('stage3', 2 * width, 4 * width, 2));
  const last = stage('stage4', 4 * width, 8 * width, 2);
  return {
    features: (x) => stages.reduce((value, one) => one(value), tf.relu(stemNorm(stem(tf.sub(tf.mul(x, 4), 2))))),
    embed: (x) => tf.mean(last(x), [1, 2]),
  };
}
