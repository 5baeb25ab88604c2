/** Whether a graph is well-formed. */
import { MerakError } from '../errors.js';
import type { Graph, ValueId } from './graph.js';

/**
 * Checks topological order, that every id is valid, that every value has exactly one producer (an input, parameter,
 * constant or node), and that shapes of constants and updates agree. Raises plan/invalid; returns the graph.
 */
export function checkGraph(graph: Graph): Graph {
  const made = new Set<ValueId>();
  const make = (id: ValueId, what: string) => {
    if (graph.values[id] === undefined) throw invalid(`${what} names value ${id}, which does not exist`);
    if (made.has(id)) throw invalid(`value ${id} has two producers; the second is ${what}`);
    made.add(id);
  };
  const use = (id: ValueId, what: string) => {
    if (!made.has(id)) throw invalid(`${what} uses value ${id} before anything produces it`);
  };

  for (const { name, value } of graph.inputs) make(value, `input "${name}"`);
  for (const { name, value } of graph.parameters) make(value, `parameter "${name}"`);
  for (const { value, data } of graph.constants) {
    make(value, 'a constant');
    const size = graph.values[value]!.shape.reduce((product, dim) => product * dim, 1);
    if (data.length !== size) throw invalid(`constant ${value} holds ${data.length} elements, its shape ${size}`);
  }
  graph.nodes.forEach((node, index) => {
    const what = `node ${index} (${node.kernel})`;
    if (node.inputs.length !== node.inputNames.length) throw invalid(`${what} does not have one name per input`);
    for (const id of node.inputs) use(id, what);
    for (const id of node.outputs) make(id, what);
  });
  for (const { name, value } of graph.outputs) use(value, `output "${name}"`);
  for (const { parameter, value } of graph.updates) {
    const target = graph.parameters[parameter];
    if (target === undefined) throw invalid(`an update names parameter ${parameter}, which does not exist`);
    use(value, `the update of "${target.name}"`);
    if (graph.values[value]!.shape.join() !== graph.values[target.value]!.shape.join()) {
      throw invalid(`the update of "${target.name}" has another shape`);
    }
  }
  return graph;
}

function invalid(message: string): MerakError {
  return new MerakError('plan/invalid', `malformed graph: ${message}`);
}
