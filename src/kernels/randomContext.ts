/** What keys random numbers on a real tfjs backend: set by the runtime for each micro-batch, or by `nn.setStep`. */

export interface RandomContext {
  readonly seed: number;
  readonly step: number;
  /** `dpIndex * numMicroBatches + micro`: how many micro-batches of the global batch come before this one. */
  readonly microBatch: number;
}

let current: RandomContext = { seed: 0, step: 0, microBatch: 0 };
let nextIndex = 0;

export function randomContext(): RandomContext {
  return current;
}

/** Replaces the given fields and starts numbering the random ops of a call from 0 again. Returns the previous context. */
export function setRandomContext(change: Partial<RandomContext>): RandomContext {
  const previous = current;
  current = { ...current, ...change };
  nextIndex = 0;
  return previous;
}

/** A `node` number for a random op that was given none: 0, 1, 2, ... in order of call since the context was last set. */
export function nextRandomNode(): number {
  return nextIndex++;
}
