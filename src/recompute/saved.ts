/** Which values a stage keeps between a micro-batch's forward and backward. */
import type { Derivative } from '../autodiff/derivative.js';
import type { ValueId } from '../graph/graph.js';

/** `none` keeps all that backward reads; `full` keeps the stage's inputs only and runs the forward again. */
export type RecomputeMode = 'none' | 'full';

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

/** What the forward program keeps; the rest of `neededByBackward` is for the recompute program to make again. */
export function chooseSaved(derivative: Derivative, mode: RecomputeMode): Set<ValueId> {
  return mode === 'full' ? new Set() : neededByBackward(derivative);
}

/**
 * Per stage, whether it recomputes. Under the shifted critical path the last stage does not: its backward follows its
 * forward at once, so what it would drop is wanted again immediately.
 */
export function recomputingStages(mode: RecomputeMode, scheduleName: string, numStages: number): boolean[] {
  return Array.from(
    { length: numStages },
    (_, stage) => mode === 'full' && !(scheduleName === 'scp' && stage === numStages - 1),
  );
}
