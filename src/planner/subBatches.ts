/** How many sub-batches a plan's stages should take turns in: what the cost model says is fastest. */
import type { Graph, Node } from '../graph/graph.js';
import { bestSubBatches, type NodeCosts } from '../tensorparallel/subPipelineCost.js';
import { callSeconds, isExchange } from './costs/callSeconds.js';
import type { ClusterCosts } from './costs/planSimulation.js';
import type { SplitGraph } from './split.js';

const CANDIDATES = [2, 4];

/** 1 without a tensor axis, where no candidate divides the micro-batch, or where none pays. */
export function chooseSubBatches(
  split: SplitGraph,
  microBatchSize: number,
  tensorRanks: number,
  costs: ClusterCosts,
): number {
  const candidates = CANDIDATES.filter((count) => microBatchSize % count === 0);
  // Where the cores that compute carry the bytes too, turns gain nothing but waits, which no cost model knows.
  if (tensorRanks === 1 || candidates.length === 0 || costs.transfers === 'receiver') return 1;
  const graphs = (split.stages[0] ?? []).map(({ graph }) => graph);
  return bestSubBatches(graphs, tensorNodeCosts(costs, tensorRanks), { candidates });
}

/** A cluster's costs of a rank's nodes, for `subPipelinePays`. */
export function tensorNodeCosts({ operators, tensorLink }: ClusterCosts, tensorRanks: number): NodeCosts {
  const costs = { operators, tensorLink, tensorRanks };
  return {
    computeSeconds: (graph: Graph, node: Node) => (isExchange(node) ? 0 : operators.nodeSeconds(graph, node)),
    exchangeSeconds: (graph: Graph, node: Node) => callSeconds(graph, node, costs),
  };
}
