/** Which values of a graph a gradient has to flow through. */
import type { Graph, ValueId } from '../graph/graph.js';

/** The float32 values that depend, through float32 values only, on one of `sources`. */
export function dependOn(graph: Graph, sources: Iterable<ValueId>): ReadonlySet<ValueId> {
  const reached = new Set(sources);
  for (const node of graph.nodes) {
    if (!node.inputs.some((id) => reached.has(id))) continue;
    for (const id of node.outputs) if (graph.values[id]?.dtype === 'float32') reached.add(id);
  }
  return reached;
}
