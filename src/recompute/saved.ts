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

/**
 * Per virtual stage, whether it recomputes. Under the shifted critical path, ZB-H1 that takes its order, and ZB-V the last
 * one does not: its backward follows its forward at once, so what it would drop is wanted again immediately.
 */
export function recomputingStages(mode: RecomputeMode, scheduleName: string, numStages: number): boolean[] {
  return Array.from(
    { length: numStages },
    (_, stage) => mode === 'full' && !(LAST_KEEPS.has(scheduleName) && stage === numStages - 1),
  );
}

const LAST_KEEPS: ReadonlySet<string> = new Set(['scp', 'zb-h1', 'zb-v']);
