/** Seconds of one kernel call, by arithmetic and memory (the roofline rule) or by a stopwatch. */
import { leastSide, nodeBytes, nodeFlops } from '../../graph/cost.js';
import type { Graph, Node } from '../../graph/graph.js';
import type { DeviceModel } from './device.js';
import { rateAt } from './rates.js';

export interface OperatorCosts {
  /** 0 for kernels that only rename their input. Collectives are not priced here. */
  nodeSeconds(graph: Graph, node: Node): number;
  /** More for `bytes` that come from main memory, where kernels were measured on operands in the last cache. Default 0. */
  missSeconds?(bytes: number): number;
}

/** Kernels that run on matrix units. */
const PRODUCTS: ReadonlySet<string> = new Set([
  'BatchMatMul',
  '_FusedMatMul',
  'MerakProduct',
  'Einsum',
  'Conv2D',
  'FusedConv2D',
  'Conv3D',
  'DepthwiseConv2dNative',
  'FusedDepthwiseConv2D',
  'Conv2DBackpropInput',
  'Conv3DBackpropInputV2',
  'Conv2DBackpropFilter',
  'Conv3DBackpropFilterV2',
  'DepthwiseConv2dNativeBackpropInput',
  'DepthwiseConv2dNativeBackpropFilter',
  'MerakAttention',
  'MerakAttentionGrad',
  'MerakPackedAttention',
  'MerakPackedAttentionGrad',
]);

export function isProduct(kernel: string): boolean {
  return PRODUCTS.has(kernel);
}

/** launch + the slower of arithmetic and memory. */
export function rooflineCosts(device: DeviceModel): OperatorCosts {
  return {
    nodeSeconds(graph, node) {
      const bytes = nodeBytes(graph, node);
      const flops = nodeFlops(graph, node);
      if (bytes === 0 && flops === 0) return 0;
      const rate = arithmeticRate(device, graph, node, flops);
      const moving = bytes === 0 ? 0 : bytes / rateAt(device.memoryBytesPerSecond, bytes);
      return device.launchSeconds + Math.max(flops / rate, moving);
    },
    missSeconds(bytes) {
      const curve = device.memoryBytesPerSecond;
      const main = curve.at(-1)?.rate ?? Number.POSITIVE_INFINITY;
      return bytes <= 0 ? 0 : bytes * Math.max(0, 1 / main - 1 / rateAt(curve, bytes));
    },
  };
}

function arithmeticRate(device: DeviceModel, graph: Graph, node: Node, flops: number): number {
  const side = leastSide(graph, node);
  const own = device.kernelFlops?.[node.kernel];
  if (own !== undefined) return rateAt(own, side ?? 1);
  if (!isProduct(node.kernel)) return device.vectorFlopsPerSecond;
  const square = rateAt(device.productFlops, flops);
  const thin = device.thinProductFlops;
  return side === undefined || thin === undefined ? square : Math.min(square, rateAt(thin, side));
}

/** Seconds of a kernel call, measured; null when it cannot be run alone. */
export type NodeTimer = (graph: Graph, node: Node) => number | null;

/** Measures each distinct call (kernel, shapes, attributes) once; what cannot be run alone costs what `otherwise` says. */
export function timedCosts(timer: NodeTimer, otherwise: OperatorCosts): OperatorCosts {
  const known = new Map<string, number>();
  return {
    nodeSeconds(graph, node) {
      if (nodeBytes(graph, node) === 0 && nodeFlops(graph, node) === 0) return 0;
      const key = JSON.stringify([
        node.kernel,
        node.inputNames,
        [...node.inputs, ...node.outputs].map((id) => [graph.values[id]?.dtype, graph.values[id]?.shape]),
        node.attrs,
      ]);
      const measured = known.get(key) ?? timer(graph, node) ?? otherwise.nodeSeconds(graph, node);
      known.set(key, measured);
      return measured;
    },
  };
}
