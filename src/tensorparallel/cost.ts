/** What a layout costs: seconds of computing, of collectives, and of carrying a parameter through a step. */
import { nodeFlops } from '../graph/cost.js';
import type { Graph, Node, ValueId } from '../graph/graph.js';
import { VIEWS } from '../graph/views.js';
import { product } from './shards.js';

/** The machine as the search sees it. */
export interface CostModel {
  readonly flopsPerSecond: number;
  readonly memoryBytesPerSecond: number;
  /** Bytes a rank exchanges with its peers per second in a collective. */
  readonly linkBytesPerSecond: number;
  /** Fixed cost of one collective: meeting, and waiting for the slower rank. */
  readonly latencySeconds: number;
  /** Seconds of products (matrices, convolutions, attention) count this many times. 1: as they are. */
  readonly productWeight: number;
}

/**
 * Two ranks on the reference machine, one core each, through shared memory (design.md, numbers measured). Activations of a
 * micro-batch mostly lie in cache; the latency is mostly the wait for the slower of the two.
 */
export const DEFAULT_COST_MODEL: CostModel = {
  flopsPerSecond: 2e11,
  memoryBytesPerSecond: 1e11,
  linkBytesPerSecond: 7e9,
  latencySeconds: 2e-5,
  productWeight: 1,
};

/** Backward computes two products for every one of the forward. */
const BACKWARD_FACTOR = 2;
/** Bytes moved per parameter byte and micro-batch: its gradient's accumulation and its share of the update. */
const PARAMETER_TRAFFIC = 4;

/** Those that move no data on one rank. */
const UNMOVING: ReadonlySet<string> = new Set([...VIEWS, 'MerakFanOut', 'MerakWait']);

/** Kernels that multiply by weights or by each other: what tensor parallelism is for. */
const PRODUCTS: ReadonlySet<string> = new Set([
  'BatchMatMul',
  'Einsum',
  'Conv2D',
  'Conv3D',
  'Conv2DBackpropInput',
  'Conv3DBackpropInputV2',
  'DepthwiseConv2dNative',
  'MerakAttention',
]);

export function valueBytes(graph: Graph, value: ValueId): number {
  const described = graph.values[value];
  if (described === undefined) return 0;
  return product(described.shape) * (described.dtype === 'bool' ? 1 : 4);
}

/** Seconds of one undivided node: the slower of arithmetic and memory, with its backward when it has one. */
export function nodeSeconds(graph: Graph, node: Node, hasGradient: boolean, model: CostModel): number {
  if (UNMOVING.has(node.kernel)) return 0;
  const operands = new Set([...node.inputs, ...node.outputs]);
  let bytes = 0;
  for (const value of operands) bytes += valueBytes(graph, value);
  const weight = PRODUCTS.has(node.kernel) ? model.productWeight : 1;
  const flopsSeconds = (weight * nodeFlops(graph, node)) / model.flopsPerSecond;
  const forward = Math.max(flopsSeconds, bytes / model.memoryBytesPerSecond);
  return hasGradient ? forward * (1 + BACKWARD_FACTOR) : forward;
}

/** A ring all-reduce of `bytes`: every rank sends and receives 2 (t - 1) / t of them. */
export function allReduceSeconds(bytes: number, degree: number, model: CostModel): number {
  return model.latencySeconds + (2 * (degree - 1) * bytes) / degree / model.linkBytesPerSecond;
}

/** Gathering shards into `bytes`: half of an all-reduce, plus writing the whole. */
export function allGatherSeconds(bytes: number, degree: number, model: CostModel): number {
  const exchange = ((degree - 1) * bytes) / degree / model.linkBytesPerSecond;
  return model.latencySeconds + exchange + bytes / model.memoryBytesPerSecond;
}

/** Summing whole values of which every rank keeps a shard: half of an all-reduce. */
export function reduceScatterSeconds(bytes: number, degree: number, model: CostModel): number {
  return model.latencySeconds + ((degree - 1) * bytes) / degree / model.linkBytesPerSecond;
}

/** Seconds a collective of a local graph keeps the link; 0 for any other node. */
export function collectiveSeconds(graph: Graph, node: Node, degree: number, model: CostModel): number {
  const bytes = Math.max(...[...node.inputs, ...node.outputs].map((value) => valueBytes(graph, value)), 0);
  if (node.kernel === 'MerakAllReduce') return allReduceSeconds(bytes, degree, model);
  if (node.kernel === 'MerakAllGather') return allGatherSeconds(bytes, degree, model);
  return node.kernel === 'MerakReduceScatter' ? reduceScatterSeconds(bytes, degree, model) : 0;
}

/** Copying this rank's shard of `bytes`. */
export function shardSeconds(bytes: number, degree: number, model: CostModel): number {
  return (2 * bytes) / degree / model.memoryBytesPerSecond;
}

/** Accumulating and applying the gradient of a parameter of which a rank holds `bytes`. */
export function parameterSeconds(bytes: number, model: CostModel): number {
  return (PARAMETER_TRAFFIC * bytes) / model.memoryBytesPerSecond;
}
