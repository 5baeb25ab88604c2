/** The collective kernels: their gradients, and references that go through a host communicator the runtime sets. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { numberAttr, stringAttr } from './attributes.js';
import { input, type KernelDefinition } from './definition.js';
import { mergeShards, takeShard } from './shards.js';

/** What the reference kernels need of the other ranks of a mesh axis. Both must be synchronous. */
export interface HostCollectives {
  allReduce(x: tf.Tensor, axis: string, op: 'sum' | 'max'): tf.Tensor;
  /** Every rank's `x`, in rank order along the axis. */
  gather(x: tf.Tensor, axis: string): tf.Tensor[];
}

/** An axis of one rank: nothing to exchange. */
const ALONE: HostCollectives = { allReduce: (x) => tf.clone(x), gather: (x) => [tf.clone(x)] };

let host: HostCollectives = ALONE;

/** Sets how collectives reach the other ranks on real backends; null goes back to "one rank an axis". Returns the previous. */
export function setCollectives(collectives: HostCollectives | null): HostCollectives {
  const previous = host;
  host = collectives ?? ALONE;
  return previous;
}

function reduction(attrs: tf.NamedAttrMap): 'sum' | 'max' {
  const op = stringAttr(attrs, 'op', 'sum');
  if (op === 'sum' || op === 'max') return op;
  throw new MerakError('engine/kernel', 'unknown reduction', { path: 'op', expected: "'sum' or 'max'", received: op });
}

function single(dy: tf.Tensor | tf.Tensor[]): tf.Tensor {
  return Array.isArray(dy) ? dy[0]! : dy;
}

export const allReduce: KernelDefinition = {
  kernel: 'MerakAllReduce',
  inputs: ['x'],
  reference: (inputs, attrs) => host.allReduce(input(inputs, 'x'), stringAttr(attrs, 'axis'), reduction(attrs)),
  gradient: {
    inputsToSave: ['x'],
    outputsToSave: [true],
    gradFunc(dy, saved, attrs) {
      if (reduction(attrs) === 'max') return { x: () => gradientOfMax(single(dy), saved, attrs) };
      return { x: () => tf.engine().runKernel<tf.Tensor>('Identity', { x: single(dy) }) };
    },
  },
};

/** To the ranks that hold the maximum, in equal parts. `dy` is the same on all ranks. */
function gradientOfMax(dy: tf.Tensor, [x, y]: tf.Tensor[], attrs: tf.NamedAttrMap): tf.Tensor {
  const holds = tf.cast(tf.equal(x!, y!), 'float32');
  const sum = { axis: stringAttr(attrs, 'axis'), op: 'sum' };
  const numHolders = tf.engine().runKernel<tf.Tensor>('MerakAllReduce', { x: holds }, sum);
  return tf.div(tf.mul(dy, holds), numHolders);
}

export const fanOut: KernelDefinition = {
  kernel: 'MerakFanOut',
  inputs: ['x'],
  reference: (inputs) => tf.clone(input(inputs, 'x')),
  gradient: {
    gradFunc: (dy, _saved, attrs) => ({
      x: () =>
        tf
          .engine()
          .runKernel<tf.Tensor>('MerakAllReduce', { x: single(dy) }, { axis: stringAttr(attrs, 'axis'), op: 'sum' }),
    }),
  },
};

/** With `spread` every rank's readers compute something else, so that the gradient is a sum over the ranks. */
export const allGather: KernelDefinition = {
  kernel: 'MerakAllGather',
  inputs: ['x'],
  reference(inputs, attrs) {
    const shards = host.gather(input(inputs, 'x'), stringAttr(attrs, 'axis'));
    return mergeShards(shards, numberAttr(attrs, 'dim'), numberAttr(attrs, 'parts'), numberAttr(attrs, 'size'));
  },
  gradient: {
    inputsToSave: ['x'],
    gradFunc(dy, saved, attrs) {
      const dim = numberAttr(attrs, 'dim');
      const degree = numberAttr(attrs, 'degree');
      const shardAttrs = {
        axis: stringAttr(attrs, 'axis'),
        dim,
        parts: numberAttr(attrs, 'parts'),
        paddedSize: saved[0]!.shape[dim]! * degree,
        degree,
        index: numberAttr(attrs, 'index'),
      };
      const kernel = attrs.spread === true ? 'MerakReduceScatter' : 'MerakShard';
      return { x: () => tf.engine().runKernel<tf.Tensor>(kernel, { x: single(dy) }, shardAttrs) };
    },
  },
};

/** The sum over the ranks, of which each keeps its shard. */
export const reduceScatter: KernelDefinition = {
  kernel: 'MerakReduceScatter',
  inputs: ['x'],
  reference: (inputs, attrs) =>
    takeShard(
      host.allReduce(input(inputs, 'x'), stringAttr(attrs, 'axis'), 'sum'),
      numberAttr(attrs, 'dim'),
      numberAttr(attrs, 'parts'),
      numberAttr(attrs, 'paddedSize'),
      numberAttr(attrs, 'degree'),
      numberAttr(attrs, 'index'),
    ),
  gradient: { inputsToSave: ['x'], gradFunc: gatherGradient },
};

export const shard: KernelDefinition = {
  kernel: 'MerakShard',
  inputs: ['x'],
  reference: (inputs, attrs) =>
    takeShard(
      input(inputs, 'x'),
      numberAttr(attrs, 'dim'),
      numberAttr(attrs, 'parts'),
      numberAttr(attrs, 'paddedSize'),
      numberAttr(attrs, 'degree'),
      numberAttr(attrs, 'index'),
    ),
  gradient: { inputsToSave: ['x'], gradFunc: gatherGradient },
};

/** Every rank's shard of the gradient, for each term of the sum or copy of the whole. */
function gatherGradient(
  dy: tf.Tensor | tf.Tensor[],
  saved: tf.Tensor[],
  attrs: tf.NamedAttrMap,
): { x: () => tf.Tensor } {
  const dim = numberAttr(attrs, 'dim');
  const gatherAttrs = {
    axis: stringAttr(attrs, 'axis'),
    dim,
    parts: numberAttr(attrs, 'parts'),
    size: saved[0]!.shape[dim]!,
    degree: numberAttr(attrs, 'degree'),
    index: numberAttr(attrs, 'index'),
  };
  return { x: () => tf.engine().runKernel<tf.Tensor>('MerakAllGather', { x: single(dy) }, gatherAttrs) };
}

/** Started and awaited apart, they are the same functions: here all happens at the start. */
export const allReduceStart: KernelDefinition = { ...allReduce, kernel: 'MerakAllReduceStart' };
export const allGatherStart: KernelDefinition = { ...allGather, kernel: 'MerakAllGatherStart' };
export const reduceScatterStart: KernelDefinition = { ...reduceScatter, kernel: 'MerakReduceScatterStart' };

/** `source` is what a collective in the background still reads: named so that its memory stays. */
export const wait: KernelDefinition = {
  kernel: 'MerakWait',
  inputs: ['x', 'source?'],
  reference: (inputs) => tf.clone(input(inputs, 'x')),
  gradient: {
    gradFunc: (dy) => ({ x: () => tf.engine().runKernel<tf.Tensor>('Identity', { x: single(dy) }) }),
  },
};
