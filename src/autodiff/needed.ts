/** What a stage's backward part reads of its forward part. */
import type { ValueId } from '../graph/graph.js';
import type { Derivative } from './derivative.js';

/** Results of forward nodes that backward nodes, or the gradients themselves, read. */
export function neededByBackward(derivative: Derivative): Set<ValueId> {
  const { graph, numForwardNodes } = derivative;
  const forward = new Set(graph.nodes.slice(0, numForwardNodes).flatMap((node) => node.outputs));
  const read = [
    ...graph.nodes.slice(numForwardNodes).flatMap((node) => node.inputs),
    ...[...derivative.parameterGradients, ...derivative.receivedGradients].filter((value) => value !== null),
  ];
  return new Set(read.filter((value) => forward.has(value)));
}
