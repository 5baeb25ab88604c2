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
    gradFunc(dy, _saved, attrs) {
      if (reduction(attrs) !== 'sum') {
        throw new MerakError('autodiff/no-gradient', 'MerakAllReduce has a gradient for op "sum" only');
      }
      return { x: () => tf.engine().runKernel<tf.Tensor>('Identity', { x: single(dy) }) };
    },
  },
};

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

/** Its attrs hold, beside those of docs/kernels.md, `degree` and `index` of this rank when it is to be differentiated. */
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
      return { x: () => tf.engine().runKernel<tf.Tensor>('MerakShard', { x: single(dy) }, shardAttrs) };
    },
  },
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
  gradient: {
    inputsToSave: ['x'],
    gradFunc(dy, saved, attrs) {
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
    },
  },
};
