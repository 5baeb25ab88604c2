/** A schedule as data: per stage, the ordered list of what to compute. */

/** F forward, R recompute (early: before the gradient arrives), B backward, W weight gradient (when split from B). */
export interface Task {
  readonly kind: 'F' | 'R' | 'B' | 'W';
  readonly micro: number;
  /** Which of the stage's model chunks, 0 (default) to numChunks - 1. */
  readonly chunk?: number;
}

/**
 * How chunks lie on stages. `loop`: chunk c of stage s is virtual stage c p + s, so the last stage hands on to the first.
 * `vee`: every other chunk runs the other way, so a stage hands on to itself where the path turns.
 */
export type Placement = 'loop' | 'vee';

export interface Schedule {
  readonly name: string;
  readonly numStages: number;
  readonly numMicroBatches: number;
  /** Model chunks per stage; default 1. The model is cut into numStages x numChunks virtual stages. */
  readonly numChunks?: number;
  /** Default 'loop'. */
  readonly placement?: Placement;
  /** `stages[s]` is stage s's ordered list. */
  readonly stages: readonly (readonly Task[])[];
}
