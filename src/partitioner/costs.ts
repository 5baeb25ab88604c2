/** What each shard costs, so that stages can be balanced. */
import { nodeBytes, nodeFlops } from '../graph/cost.js';
import type { Graph } from '../graph/graph.js';
import { classifyNodes } from './classify.js';
import { valueBytes } from '../graph/cost.js';
import { valueOf } from './producers.js';
import type { Shards } from './shardGraph.js';

/** Everything `assignStages` weighs. */
export interface ShardCosts {
  /** `seconds[stage][shard]`: forward, recompute where that stage recomputes, and backward, per micro-batch. */
  readonly seconds: readonly (readonly number[])[];
  /** `cutSeconds[i]`: what sending over the cut after shard i costs either neighbour. */
  readonly cutSeconds: readonly number[];
  /** Per shard: the parameters it uses. */
  readonly parameters: readonly (readonly number[])[];
  /** Per parameter. */
  readonly parameterBytes: readonly number[];
}

/**
 * Rates of one core of the reference machine (design.md): only their ratio matters, since stages are compared with
 * each other.
 */
const FLOPS_PER_SECOND = 150e9;
const BYTES_PER_SECOND = 10e9;

/** Seconds of one node's forward pass by the roofline rule: the slower of arithmetic and memory. */
export function nodeSeconds(flops: number, bytes: number): number {
  return Math.max(flops / FLOPS_PER_SECOND, bytes / BYTES_PER_SECOND);
}

/** Backward costs twice the forward (gradients of input and of weight); recomputation as much as the forward. */
export function shardCosts(graph: Graph, shards: Shards, recomputes: readonly boolean[]): ShardCosts {
  const { classOf, parametersBehind } = classifyNodes(graph);
  const forward = Array.from({ length: shards.numShards }, () => 0);
  const parameters = Array.from({ length: shards.numShards }, () => new Set<number>());
  graph.nodes.forEach((node, index) => {
    const shard = shards.shardOfNode[index] ?? 0;
    forward[shard] = (forward[shard] ?? 0) + nodeSeconds(nodeFlops(graph, node), nodeBytes(graph, node));
    if (classOf[index] === 'duplicable') return;
    for (const input of node.inputs) {
      for (const parameter of parametersBehind[input] ?? []) parameters[shard]?.add(parameter);
    }
  });
  return {
    seconds: recomputes.map((recompute) => forward.map((seconds) => seconds * (recompute ? 4 : 3))),
    cutSeconds: shards.cutBytes.map((bytes) => (2 * bytes) / BYTES_PER_SECOND),
    parameters: parameters.map((set) => [...set]),
    parameterBytes: graph.parameters.map((parameter) => valueBytes(valueOf(graph, parameter.value))),
  };
}
