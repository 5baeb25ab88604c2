/** A schedule as data: per stage, the ordered list of what to compute. */

/** F forward, R recompute (early: before the gradient arrives), B backward, W weight gradient (when split from B). */
export interface Task {
  readonly kind: 'F' | 'R' | 'B' | 'W';
  readonly micro: number;
}

export interface Schedule {
  readonly name: string;
  readonly numStages: number;
  readonly numMicroBatches: number;
  /** `stages[s]` is stage s's ordered list. */
  readonly stages: readonly (readonly Task[])[];
}
