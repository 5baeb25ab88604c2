/** Which values a stage keeps between a micro-batch's forward and backward. */
import type { Derivative } from '../autodiff/derivative.js';
import { neededByBackward } from '../autodiff/needed.js';
import type { ValueId } from '../graph/graph.js';

/**
 * `none` keeps all that backward reads; `full` keeps the stage's inputs only and runs the forward again; `auto` keeps what
 * fits in memory and recomputes what costs least (chooseKept.ts).
 */
export type RecomputeMode = 'none' | 'full' | 'auto';

/** What the forward program keeps; the rest of `neededByBackward` is for the recompute program to make again. */
export function chooseSaved(derivative: Derivative, mode: 'none' | 'full'): Set<ValueId> {
  return mode === 'full' ? new Set() : neededByBackward(derivative);
}
