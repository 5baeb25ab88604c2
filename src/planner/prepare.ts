/** Small rewrites that make a traced graph fit for planning. */
import { MerakError } from '../errors.js';
import { graphBuilder } from '../graph/builder.js';
import type { Graph, Node } from '../graph/graph.js';

/** Scalar results as float32, so that `metrics` can sum them: int32 and bool metrics get a Cast. */
export function withFloatMetrics(graph: Graph): Graph {
  const isFloat = (value: number) => graph.values[value]?.dtype === 'float32';
  if (graph.outputs.every((output) => isFloat(output.value))) return graph;
  const builder = graphBuilder({ ...graph, outputs: [] });
  for (const { name, value } of graph.outputs) {
    const type = builder.value(value);
    const [cast] = isFloat(value)
      ? [value]
      : builder.addNode({
          kernel: 'Cast',
          inputs: [value],
          inputNames: ['x'],
          outputs: [{ ...type, dtype: 'float32' }],
          attrs: { dtype: 'float32' },
        });
    builder.addOutput(name, cast ?? value);
  }
  return builder.build();
}

/** Random kernels draw by position in the whole batch: `numLocalBatches` = micro-batches x replicas local extents. */
export function withGlobalBatch(graph: Graph, numLocalBatches: number): Graph {
  return { ...graph, nodes: graph.nodes.map((node) => globalBatchNode(graph, node, numLocalBatches)) };
}

function globalBatchNode(graph: Graph, node: Node, numLocalBatches: number): Node {
  if (node.kernel !== 'MerakDropout' && node.kernel !== 'MerakRandom') return node;
  const { globalShape, batchDim, batchExtent } = node.attrs;
  if (typeof batchDim !== 'number' || batchDim < 0 || !Array.isArray(globalShape)) return node;
  const local = graph.values[node.outputs[0] ?? -1]?.shape[batchDim];
  const extent = typeof batchExtent === 'number' ? batchExtent : local;
  if (extent === undefined) throw new MerakError('plan/invalid', `${node.kernel} has no dim ${batchDim}`);
  const shape = globalShape.map((size, dim) => (dim === batchDim ? extent * numLocalBatches : size));
  return { ...node, attrs: { ...node.attrs, globalShape: shape } };
}

/**
 * Samples in one micro-batch of a graph: dim 0 of its batch fields.
 *
 * @throws MerakError 'config/batch' when the fields disagree.
 */
export function microBatchSizeOf(graph: Graph): number {
  const sizes = graph.inputs.map(({ name, value }) => ({ name, size: graph.values[value]?.shape[0] ?? 1 }));
  const first = sizes[0];
  const other = sizes.find(({ size }) => size !== first?.size);
  if (first !== undefined && other !== undefined) {
    throw new MerakError('config/batch', 'the batch fields have different numbers of samples', {
      path: other.name,
      expected: `${first.size}, as '${first.name}'`,
      received: String(other.size),
    });
  }
  return first?.size ?? 1;
}
