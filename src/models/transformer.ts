/** What GPT and BERT share: variables of a transformer block, attention and MLP on [b, T, H]. */
import * as tf from '@tensorflow/tfjs';
import type { Initializer } from '../graph/graph.js';
import { attention } from '../nn/attention.js';
import { attentionProbabilities } from '../nn/attentionProbabilities.js';
import { dense } from '../nn/dense.js';
import { gelu } from '../nn/gelu.js';
import { layerNorm } from '../nn/layerNorm.js';
import { variable } from '../nn/variable.js';

export const ZEROS: Initializer = { kind: 'constant', value: 0 };
export const ONES: Initializer = { kind: 'constant', value: 1 };

export function normal(stddev: number): Initializer {
  return { kind: 'normal', mean: 0, stddev };
}

/** Makes variables named under a prefix, and remembers them in order. */
export interface VariableMaker {
  readonly made: tf.Variable[];
  make(name: string, shape: readonly number[], initializer: Initializer): tf.Variable;
}

export function variableMaker(prefix: string, seed: number): VariableMaker {
  const made: tf.Variable[] = [];
  return {
    made,
    make(name, shape, initializer) {
      const created = variable(`${prefix}/${name}`, shape, initializer, { seed });
      made.push(created);
      return created;
    },
  };
}

export interface Norm {
  readonly gamma: tf.Variable;
  readonly beta: tf.Variable;
}

export interface Linear {
  readonly weight: tf.Variable;
  readonly bias: tf.Variable;
}

export interface Block {
  readonly norm1: Norm;
  readonly qkv: Linear;
  readonly projection: Linear;
  readonly norm2: Norm;
  readonly expand: Linear;
  readonly contract: Linear;
}

export function makeNorm(maker: VariableMaker, name: string, size: number): Norm {
  return { gamma: maker.make(`${name}/gamma`, [size], ONES), beta: maker.make(`${name}/beta`, [size], ZEROS) };
}

export function makeLinear(
  maker: VariableMaker,
  name: string,
  inputs: number,
  outputs: number,
  stddev: number,
): Linear {
  return {
    weight: maker.make(`${name}/weight`, [inputs, outputs], normal(stddev)),
    bias: maker.make(`${name}/bias`, [outputs], ZEROS),
  };
}

/** The variables of one block; `residualStddev` initialises the two projections that write to the residual stream. */
export function makeBlock(
  maker: VariableMaker,
  name: string,
  size: number,
  stddev: number,
  residualStddev: number,
  feedForwardSize = 4 * size,
): Block {
  return {
    norm1: makeNorm(maker, `${name}/norm1`, size),
    qkv: makeLinear(maker, `${name}/qkv`, size, 3 * size, stddev),
    projection: makeLinear(maker, `${name}/projection`, size, size, residualStddev),
    norm2: makeNorm(maker, `${name}/norm2`, size),
    expand: makeLinear(maker, `${name}/expand`, size, feedForwardSize, stddev),
    contract: makeLinear(maker, `${name}/contract`, feedForwardSize, size, residualStddev),
  };
}

export function normalise(x: tf.Tensor, norm: Norm, epsilon: number): tf.Tensor {
  return layerNorm(x, norm.gamma, norm.beta, epsilon);
}

export function linear(x: tf.Tensor, { weight, bias }: Linear): tf.Tensor {
  return dense(x, weight, bias);
}

export interface SelfAttentionOptions {
  readonly numHeads: number;
  readonly causal: boolean;
  /** [b, T] int32, 1 token and 0 padding. */
  readonly mask?: tf.Tensor | undefined;
  /** Whether the probabilities are wanted, [b, heads, T, T]; they then exist as a value, which costs memory. */
  readonly withProbabilities?: boolean;
}

/** Multi-head self-attention with the output projection: [b, T, H] -> [b, T, H]. The heads are a reshape, never a transpose. */
export function selfAttention(
  x: tf.Tensor,
  block: Block,
  { numHeads, causal, mask, withProbabilities = false }: SelfAttentionOptions,
): { readonly output: tf.Tensor; readonly probabilities?: tf.Tensor } {
  const [batch = 0, length = 0, size = 0] = x.shape;
  const heads = tf
    .split(linear(x, block.qkv), 3, -1)
    .map((part) => tf.reshape(part, [batch, length, numHeads, size / numHeads]));
  const [q, k, v] = heads as [tf.Tensor, tf.Tensor, tf.Tensor];
  const seen = { causal, ...(mask === undefined ? {} : { mask }) };
  if (!withProbabilities) {
    const mixed = attention({ q, k, v, ...seen });
    return { output: linear(tf.reshape(mixed, [batch, length, size]), block.projection) };
  }
  const probabilities = attentionProbabilities({ q, k, ...seen });
  const mixed = tf.transpose(tf.matMul(probabilities, tf.transpose(v, [0, 2, 1, 3])), [0, 2, 1, 3]);
  return { output: linear(tf.reshape(mixed, [batch, length, size]), block.projection), probabilities };
}

/** The two-layer MLP of a block: [b, T, H] -> [b, T, H]. */
export function feedForward(x: tf.Tensor, block: Block, approximate: 'tanh' | 'none'): tf.Tensor {
  return linear(gelu(linear(x, block.expand), approximate), block.contract);
}
