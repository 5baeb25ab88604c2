/** Which dim of each value grows with the batch, from traces at two batch sizes. */
import type { Graph } from '../graph/graph.js';

/** `graph` with `batchDim` set where a size differs in `other`; unchanged when the two traces differ in structure. */
export function withBatchDims(graph: Graph, other: Graph): Graph {
  if (!sameStructure(graph, other)) return graph;
  return {
    ...graph,
    values: graph.values.map((value, id) => {
      const shape = other.values[id]!.shape;
      return { ...value, batchDim: value.shape.findIndex((size, dim) => size !== shape[dim]) };
    }),
  };
}

function sameStructure(a: Graph, b: Graph): boolean {
  return (
    a.values.length === b.values.length &&
    a.values.every((value, id) => value.shape.length === b.values[id]!.shape.length) &&
    a.nodes.length === b.nodes.length &&
    a.nodes.every((node, index) => {
      const twin = b.nodes[index]!;
      return (
        node.kernel === twin.kernel &&
        node.inputs.join() === twin.inputs.join() &&
        node.outputs.join() === twin.outputs.join()
      );
    })
  );
}
