/** tf.multinomial in terms of numbers that a run draws anew. */
import type { Graph } from '../graph/graph.js';
import { rewriteGraph } from '../graph/passes/rewrite.js';
import { inputOf } from '../graph/passes/view.js';

/**
 * Multinomial [b, n] -> [b, numSamples] int32 by inversion: a uniform number falls between the sums of probabilities before
 * and after its outcome. tfjs's seed, random itself when none is given, is not looked at: the run's own keys the numbers.
 */
export function raiseMultinomial(graph: Graph): Graph {
  return rewriteGraph(graph, (node, { view, emitOne }) => {
    if (node.kernel !== 'Multinomial') return null;
    const logits = inputOf(node, 'logits')!;
    const output = view.value(node.outputs[0]!);
    const type = view.value(logits);
    const [rows = 1, numOutcomes = 1] = type.shape;
    const probabilities = node.attrs.normalized === true ? logits : emitOne('Softmax', { logits }, { dim: -1 }, type);
    const sums = emitOne('Cumsum', { x: probabilities }, { axis: 1, exclusive: false, reverse: false }, type);
    // The last outcome is what no other one is.
    const bounds = { shape: [rows, numOutcomes - 1], dtype: type.dtype, batchDim: type.batchDim };
    const sortedSequence = emitOne('Slice', { x: sums }, { begin: [0, 0], size: bounds.shape }, bounds);
    const shape = [...output.shape];
    const placement = { node: 0, globalShape: shape, offsets: shape.map(() => 0), batchDim: -1 };
    const drawn = { shape, dtype: 'float32' as const, batchDim: output.batchDim };
    const values = emitOne('MerakRandom', {}, { shape, kind: 'uniform', a: 0, b: 1, ...placement }, drawn);
    return [emitOne('SearchSorted', { sortedSequence, values }, { side: 'right' }, output)];
  });
}
