/** Seconds of one kernel call of a rank's graph, collectives of the tensor axis included. */
import { valueBytes } from '../../graph/cost.js';
import type { Graph, Node } from '../../graph/graph.js';
import { allGatherSeconds, allReduceSeconds } from './collectives.js';
import type { ProgramCosts } from './programSeconds.js';

export function callSeconds(graph: Graph, node: Node, { operators, tensorLink, tensorRanks }: ProgramCosts): number {
  const bytes = () =>
    node.outputs.reduce((sum, id) => {
      const value = graph.values[id];
      return sum + (value === undefined ? 0 : valueBytes(value));
    }, 0);
  const kernel = node.kernel.replace(/Start$/, '');
  if (kernel === 'MerakAllReduce') return allReduceSeconds(bytes(), tensorRanks, tensorLink);
  if (kernel === 'MerakAllGather') return allGatherSeconds(bytes(), tensorRanks, tensorLink);
  if (kernel === 'MerakReduceScatter') return allGatherSeconds(bytes() * tensorRanks, tensorRanks, tensorLink);
  return operators.nodeSeconds(graph, node);
}

const EXCHANGES: ReadonlySet<string> = new Set(['MerakAllReduce', 'MerakAllGather', 'MerakReduceScatter']);

/** Whether the node waits for tensor-parallel peers. */
export function isExchange(node: Node): boolean {
  return EXCHANGES.has(node.kernel);
}

/** Whether the node starts an exchange that a MerakWait will wait for. */
export function startsExchange(node: Node): boolean {
  return node.kernel.endsWith('Start') && EXCHANGES.has(node.kernel.slice(0, -'Start'.length));
}
