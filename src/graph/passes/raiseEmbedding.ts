/** Pass: rows gathered from a parameter (tf.layers.embedding) become MerakEmbedding. */
import type { Graph } from '../graph.js';
import { rewriteGraph } from './rewrite.js';
import { inputOf } from './view.js';

/** GatherV2 along axis 0 of a float32 matrix parameter by int32 indices. */
export function raiseEmbedding(graph: Graph): Graph {
  const parameters = new Set(graph.parameters.map(({ value }) => value));
  return rewriteGraph(graph, (node, { view, emitOne }) => {
    if (node.kernel !== 'GatherV2') return null;
    const [table, ids] = [inputOf(node, 'x')!, inputOf(node, 'indices')!];
    const { axis = 0, batchDims = 0 } = node.attrs;
    const { shape, dtype } = view.value(table);
    if (!parameters.has(table) || shape.length !== 2 || dtype !== 'float32') return null;
    if (axis !== 0 || batchDims !== 0 || view.value(ids).dtype !== 'int32') return null;
    return [
      emitOne('MerakEmbedding', { table, ids }, { vocabOffset: 0, sharded: false }, view.value(node.outputs[0]!)),
    ];
  });
}
