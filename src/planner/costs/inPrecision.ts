/** Kernel calls as plans of a precision have them: products marked, what they read and leave in 16 bits stored so. */
import type { Value } from '../../graph/graph.js';
import type { KernelCall } from '../../graph/kernelCall.js';
import { type NarrowPrecision, ROUNDS, STORED_AS, TAKES } from '../../graph/passes/autocast.js';
import { roundProducts } from '../../graph/passes/roundProducts.js';
import type { Precision } from '../fuse.js';
import type { CalibrationCalls } from './calibrationCalls.js';

export function callsInPrecision(calls: CalibrationCalls, precision: Precision): CalibrationCalls {
  const convert = (call: KernelCall) => inPrecision(call, precision);
  const { launch, products, thinProducts, vectors, arithmetic, kernels } = calls;
  return {
    launch,
    products: products.map((one) => one.map(convert)),
    thinProducts: thinProducts.map(({ side, calls: thin }) => ({ side, calls: thin.map(convert) })),
    vectors,
    arithmetic,
    kernels: kernels.map(convert),
  };
}

function inPrecision(call: KernelCall, precision: Precision): KernelCall {
  if (precision === 'f32') return call;
  if (precision !== 'tf32') return narrow(call, precision);
  const graph = roundProducts(call.graph);
  return { graph, node: graph.nodes[0] ?? call.node };
}

/** A gradient of a weight, which is summed over many rows, stays float32, as weights' gradients do. */
function narrow({ graph, node }: KernelCall, precision: NarrowPrecision): KernelCall {
  const isProduct = node.kernel === 'BatchMatMul';
  const isWeightGradient = isProduct && node.attrs.transposeA === true;
  const taken = node.inputs.filter(
    (_, index) => isProduct || TAKES[node.kernel]?.includes(node.inputNames[index] ?? ''),
  );
  const left = node.outputs.filter((_, index) =>
    isProduct ? !isWeightGradient : ROUNDS[node.kernel]?.includes(index),
  );
  const stored = new Set([...taken, ...left]);
  const values = graph.values.map(
    (value, id): Value => (stored.has(id) ? { ...value, storedAs: STORED_AS[precision] } : value),
  );
  const marked = isProduct ? { ...node, attrs: { ...node.attrs, precision } } : node;
  return { graph: { ...graph, values, nodes: [marked] }, node: marked };
}
