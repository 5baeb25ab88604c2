/** Removing what nothing needs from a graph. */
import type { Graph, Node, Value, ValueId } from './graph.js';

/**
 * Drops nodes that reach no output and no update, then constants and values nothing names, and renumbers values.
 * Inputs and parameters stay, used or not, in their order.
 */
export function eliminateDeadNodes(graph: Graph): Graph {
  const needed = new Set<ValueId>([...graph.outputs, ...graph.updates].map(({ value }) => value));
  const kept: Node[] = [];
  for (const node of [...graph.nodes].reverse()) {
    if (!node.outputs.some((id) => needed.has(id))) continue;
    kept.push(node);
    for (const id of node.inputs) needed.add(id);
  }
  kept.reverse();
  return compact({
    ...graph,
    nodes: kept,
    constants: graph.constants.filter(({ value }) => needed.has(value)),
  });
}

/** Drops parameters that no node, output or update uses. `kept[i]` is the old index of the new parameter i. */
export function dropUnusedParameters(graph: Graph): { readonly graph: Graph; readonly kept: readonly number[] } {
  const used = new Set<ValueId>([
    ...graph.nodes.flatMap((node) => node.inputs),
    ...graph.outputs.map(({ value }) => value),
    ...graph.updates.map(({ parameter }) => graph.parameters[parameter]!.value),
  ]);
  const kept = graph.parameters.flatMap(({ value }, index) => (used.has(value) ? [index] : []));
  const newIndex = new Map(kept.map((old, index) => [old, index]));
  const reduced = compact({
    ...graph,
    parameters: kept.map((old) => graph.parameters[old]!),
    updates: graph.updates.map(({ parameter, value }) => ({ parameter: newIndex.get(parameter)!, value })),
  });
  return { graph: reduced, kept };
}

/** Renumbers values so that only those that the graph names remain, in their old order. */
function compact(graph: Graph): Graph {
  const named = new Set<ValueId>([
    ...graph.inputs.map(({ value }) => value),
    ...graph.parameters.map(({ value }) => value),
    ...graph.constants.map(({ value }) => value),
    ...graph.nodes.flatMap((node) => node.outputs),
  ]);
  const newId = new Map<ValueId, ValueId>();
  const values: Value[] = [];
  graph.values.forEach((value, id) => {
    if (!named.has(id)) return;
    newId.set(id, values.length);
    values.push(value);
  });
  const renumber = (id: ValueId): ValueId => newId.get(id)!;
  const moved = <T extends { readonly value: ValueId }>(item: T): T => ({ ...item, value: renumber(item.value) });
  return {
    values,
    nodes: graph.nodes.map((node) => ({
      ...node,
      inputs: node.inputs.map(renumber),
      outputs: node.outputs.map(renumber),
    })),
    inputs: graph.inputs.map(moved),
    parameters: graph.parameters.map(moved),
    constants: graph.constants.map(moved),
    outputs: graph.outputs.map(moved),
    updates: graph.updates.map(moved),
  };
}
