/** What a node needs at the least on any processor: bytes over its memory bus and floating-point operations. */
import { nodeBytes, nodeFlops } from './cost.js';
import type { Graph, Node } from './graph.js';

export interface Roofline {
  readonly bytes: number;
  readonly flops: number;
}

/** Each input read once, each output written once; no scratch, no second pass. */
export function roofline(graph: Graph, node: Node): Roofline {
  return { bytes: nodeBytes(graph, node), flops: nodeFlops(graph, node) };
}

/**
 * Seconds that a processor of so many bytes and operations a second takes at the least: whichever of the two it waits for
 * (Williams et al., CACM 2009).
 */
export function rooflineSeconds(
  { bytes, flops }: Roofline,
  rates: { readonly bytes: number; readonly flops: number },
): number {
  return Math.max(bytes / rates.bytes, flops / rates.flops);
}
