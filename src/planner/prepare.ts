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

function isRandom({ kernel }: Node): boolean {
  return kernel === 'MerakDropout' || kernel === 'MerakRandom';
}

function globalBatchNode(graph: Graph, node: Node, numLocalBatches: number): Node {
  if (!isRandom(node)) return node;
  const { globalShape, batchDim, batchExtent } = node.attrs;
  if (typeof batchDim !== 'number' || batchDim < 0 || !Array.isArray(globalShape)) return node;
  const local = graph.values[node.outputs[0] ?? -1]?.shape[batchDim];
  const extent = typeof batchExtent === 'number' ? batchExtent : local;
  if (extent === undefined) throw new MerakError('plan/invalid', `${node.kernel} has no dim ${batchDim}`);
  const shape = globalShape.map((size, dim) => (dim === batchDim ? extent * numLocalBatches : size));
  return { ...node, attrs: { ...node.attrs, globalShape: shape } };
}

/**
 * For replicas that all see the same samples: random kernels draw by position in what each of them sees, so that all draw what one
 * process would. Right for a single micro-batch, before which there are no samples.
 */
export function withSameDraws(graph: Graph): Graph {
  const nodes = graph.nodes.map((node) =>
    isRandom(node) && node.attrs.batchDim !== undefined ? { ...node, attrs: { ...node.attrs, batchDim: -1 } } : node,
  );
  return { ...graph, nodes };
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
