/** Structure matrices of a graph: adjacency, hops and heat wavelets, rows over the workers. */
import * as tf from '@tensorflow/tfjs';
import { nn } from '../../index.js';
import type { EdgeList } from '../readers/edges.js';
import type { SigmaConfig } from './config.js';

export type StructureOptions = Pick<SigmaConfig, 'structure' | 'includeAdjacency' | 'scale' | 'terms'>;

/** Both directions of every edge: [2 edges, 2] int32. */
export function edgeEnds({ from, to }: EdgeList): tf.Tensor2D {
  const ends = new Int32Array(4 * from.length);
  for (const [i, a] of from.entries()) ends.set([a, to[i]!, to[i]!, a], 4 * i);
  return tf.tensor2d(ends, [2 * from.length, 2], 'int32');
}

/**
 * This worker's rows of K structure matrices [nodes, nodes], each scaled to mean square 1. With N = D^-1/2 A D^-1/2 (zero
 * rows for nodes without edges) and L = I - N: hops are N^k; wavelets are sum_j (-scale k)^j L^j / j! up to `terms`. All
 * are symmetric.
 *
 * @param ends of `edgeEnds`, on every worker
 */
export function structureRows(
  ends: tf.Tensor2D,
  numNodes: number,
  numMatrices: number,
  { structure, includeAdjacency, scale, terms }: StructureOptions,
): tf.Tensor2D[] {
  const adjacency = tf.scatterND(ends, tf.ones([ends.shape[0]]), [numNodes, numNodes]) as tf.Tensor2D;
  const found: tf.Tensor2D[] = [];
  if (includeAdjacency) found.push(nn.ownShard(adjacency));
  if (found.length < numMatrices) {
    const normalised = normalise(adjacency);
    if (structure === 'hop') {
      let power = nn.ownShard(normalised);
      for (let hop = 1; found.length < numMatrices; hop++) {
        if (hop > 1) power = tf.matMul(power, normalised);
        if (hop > 1 || !includeAdjacency) found.push(power);
      }
    } else {
      const wavelets = numMatrices - found.length;
      found.push(...heatWavelets(normalised, wavelets, scale, terms));
    }
  }
  return found.map((rows) => {
    const meanSquare = tf.div(nn.allReduce(tf.sum(tf.square(rows)) as tf.Scalar), numNodes * numNodes);
    return tf.div(rows, tf.sqrt(meanSquare));
  });
}

function normalise(adjacency: tf.Tensor2D): tf.Tensor2D {
  const degree = tf.sum(adjacency, 1);
  // A node without edges has a zero row whatever stands here.
  const root = tf.rsqrt(tf.maximum(degree, 1));
  return tf.mul(tf.mul(adjacency, tf.expandDims(root, 1)), root);
}

/** exp(-scale k L) for k = 1 to `count`: one power series of L serves all. */
function heatWavelets(normalised: tf.Tensor2D, count: number, scale: number, terms: number): tf.Tensor2D[] {
  const identity = nn.ownShard(tf.eye(normalised.shape[0]));
  const sums = Array.from({ length: count }, () => identity);
  let power = identity;
  const factors = sums.map(() => 1);
  for (let term = 1; term <= terms; term++) {
    power = tf.sub(power, tf.matMul(power, normalised));
    for (let k = 0; k < count; k++) {
      factors[k] = (factors[k]! * -scale * (k + 1)) / term;
      sums[k] = tf.add(sums[k]!, tf.mul(power, factors[k]!));
    }
  }
  return sums;
}
