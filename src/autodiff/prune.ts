/** Drops backward nodes nobody needs and numbers the rest compactly; the forward part stays as it is. */
import type { Graph, GraphConstant, Node, ValueId } from '../graph/graph.js';

export interface Pruned {
  readonly graph: Graph;
  /** New id of a kept value. */
  readonly renumber: (id: ValueId) => ValueId;
}

/** `graph` starts with the nodes and values of `forward`; `roots` are the backward results to keep. */
export function pruneBackward(graph: Graph, forward: Graph, roots: readonly ValueId[]): Pruned {
  const needed = new Set<ValueId>(roots);
  const kept: Node[] = [];
  for (let index = graph.nodes.length - 1; index >= forward.nodes.length; index--) {
    const node = graph.nodes[index];
    if (node === undefined || !node.outputs.some((id) => needed.has(id))) continue;
    kept.push(node);
    for (const id of [...node.inputs, ...node.outputs]) needed.add(id);
  }
  kept.reverse();
  const firstBackward = forward.values.length;
  for (const { value } of graph.inputs) needed.add(value);
  const survivors = graph.values.flatMap((_, id) => (id < firstBackward || needed.has(id) ? [id] : []));
  const renumbered = new Map(survivors.map((id, index) => [id, index]));
  const renumber = (id: ValueId): ValueId => renumbered.get(id) ?? -1;
  const nodes = kept.map((node) => ({
    ...node,
    inputs: node.inputs.map(renumber),
    outputs: node.outputs.map(renumber),
  }));
  const constants = graph.constants.flatMap((constant): GraphConstant[] =>
    constant.value < firstBackward || needed.has(constant.value)
      ? [{ ...constant, value: renumber(constant.value) }]
      : [],
  );
  return {
    renumber,
    graph: {
      ...graph,
      values: survivors.flatMap((id) => graph.values[id] ?? []),
      nodes: [...forward.nodes, ...nodes],
      inputs: graph.inputs.map((input) => ({ ...input, value: renumber(input.value) })),
      constants,
    },
  };
}
