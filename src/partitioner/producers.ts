/** Where each value of a graph comes from and who reads it. */
import { MerakError } from '../errors.js';
import type { Graph, Node, Value, ValueId } from '../graph/graph.js';

/** Kernels whose output is their input's bytes under another shape. */
const ALIASES: ReadonlySet<string> = new Set(['Reshape', 'Identity', 'ExpandDims']);

export function isAlias(node: Node): boolean {
  return ALIASES.has(node.kernel) && node.inputs.length === 1 && node.outputs.length === 1;
}

/** Per value: the index of the node that makes it, or -1 (inputs, parameters, constants). */
export function producersOf(graph: Graph): Int32Array {
  const producer = new Int32Array(graph.values.length).fill(-1);
  graph.nodes.forEach((node, index) => {
    for (const output of node.outputs) producer[output] = index;
  });
  return producer;
}

/** Per value: the indices of the nodes that read it, ascending. */
export function consumersOf(graph: Graph): number[][] {
  const consumers: number[][] = graph.values.map(() => []);
  graph.nodes.forEach((node, index) => {
    for (const input of new Set(node.inputs)) consumers[input]?.push(index);
  });
  return consumers;
}

/** Shape and dtype of a value. @throws MerakError 'plan/invalid' for an id the graph does not have. */
export function tensorType(graph: Graph, id: ValueId): Value {
  const value = graph.values[id];
  if (value === undefined) throw new MerakError('plan/invalid', `the graph has no value ${id}`);
  return value;
}
