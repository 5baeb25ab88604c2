/** Which values of a graph share their bytes: reshaped views, fan-outs of one source, a collective's result awaited. */
import type { Graph, ValueId } from '../graph/graph.js';
import { isAlias } from '../partitioner/producers.js';

/** Per value: the value that owns its bytes. Kernels never write to their inputs, so sharing is always safe to read. */
export function storageOfValues(graph: Graph): ValueId[] {
  const storage = graph.values.map((_, value) => value);
  for (const node of graph.nodes) {
    const [input, output] = [node.inputs[0], node.outputs[0]];
    if (input === undefined || output === undefined) continue;
    if (isAlias(node) || node.kernel === 'MerakFanOut' || node.kernel === 'MerakWait')
      storage[output] = storage[input] ?? input;
  }
  return storage;
}
