/** Which nodes anything wanted depends on: passes that replace nodes leave others dead. */
import type { Graph, Node, ValueId } from '../graph.js';

/** The nodes that `wanted` values need, directly or through others. */
export function liveNodes(graph: Graph, wanted: Iterable<ValueId>): Set<Node> {
  const needed = new Set(wanted);
  const live = new Set<Node>();
  for (const node of [...graph.nodes].reverse()) {
    if (!node.outputs.some((output) => needed.has(output))) continue;
    live.add(node);
    for (const input of node.inputs) needed.add(input);
  }
  return live;
}
