/** Splits a backward program in two: what sends gradients on (B), and what only parameters wait for (W). */
import type { ValueId } from '../graph/graph.js';
import type { Derivative } from './derivative.js';

/** Indices into `derivative.graph.nodes`, ascending; together all backward nodes. */
export interface BackwardSplit {
  /** Needed for `receivedGradients`: runs as soon as the gradient arrives. */
  readonly input: readonly number[];
  /** The rest: may run later, after `input`. */
  readonly weight: readonly number[];
}

/** Slicing by dependency: a node belongs to `input` when a gradient to send back depends on it. */
export function splitWeightGradients(derivative: Derivative): BackwardSplit {
  const { graph, numForwardNodes } = derivative;
  const needed = new Set<ValueId>(derivative.receivedGradients.filter((id) => id !== null));
  const input: number[] = [];
  const weight: number[] = [];
  for (let index = graph.nodes.length - 1; index >= numForwardNodes; index--) {
    const node = graph.nodes[index];
    if (node === undefined) continue;
    const sends = node.outputs.some((id) => needed.has(id));
    if (sends) for (const id of node.inputs) needed.add(id);
    (sends ? input : weight).unshift(index);
  }
  return { input, weight };
}
