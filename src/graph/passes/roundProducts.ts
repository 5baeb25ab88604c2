/** tf32: float32 products may round their operands to 10 bits of fraction, where a device has units for that. All else stays float32. */
import { CONVOLUTIONS } from '../cost.js';
import type { Graph } from '../graph.js';

const PRODUCTS: ReadonlySet<string> = new Set(['BatchMatMul', '_FusedMatMul', ...CONVOLUTIONS]);

/**
 * Marks every product of float32 matrices, and convolutions, with `precision: 'tf32'`: what PyTorch calls allow_tf32. The CPU engine takes
 * no note of it.
 */
export function roundProducts(graph: Graph): Graph {
  return {
    ...graph,
    nodes: graph.nodes.map((node) =>
      PRODUCTS.has(node.kernel) && graph.values[node.outputs[0] ?? -1]?.dtype === 'float32'
        ? { ...node, attrs: { ...node.attrs, precision: 'tf32' } }
        : node,
    ),
  };
}
