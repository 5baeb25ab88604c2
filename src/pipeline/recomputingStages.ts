/** Which stages recompute when all that can be is recomputed. */

/**
 * Per virtual stage. Under the shifted critical path, ZB-H1 that takes its order, and ZB-V the last one does not: its
 * backward follows its forward at once, so what it would drop is wanted again immediately.
 */
export function recomputingStages(scheduleName: string, numStages: number): boolean[] {
  return Array.from({ length: numStages }, (_, stage) => !(LAST_KEEPS.has(scheduleName) && stage === numStages - 1));
}

const LAST_KEEPS: ReadonlySet<string> = new Set(['scp', 'zb-h1', 'zb-v']);
