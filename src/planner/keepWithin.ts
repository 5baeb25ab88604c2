/** What one stage keeps under a budget of bytes, by the exact memory map of its lowered programs. */
import type { Derivative } from '../autodiff/derivative.js';
import { neededByBackward } from '../autodiff/needed.js';
import type { ValueId } from '../graph/graph.js';
import type { Task } from '../pipeline/schedule.js';
import type { LoweredStage } from '../plan/lower.js';
import { chooseKept } from '../recompute/chooseKept.js';
import { keepProblem, type NodeSeconds } from '../recompute/keepProblem.js';
import { type WorkingMemory, workingMemory } from './workingMemory.js';

export interface KeepRequest {
  readonly derivative: Derivative;
  /** For the training executable's arena. */
  readonly budgetBytes: number;
  readonly nodeSeconds: NodeSeconds;
  /** The stage's programs when exactly these values are kept. */
  readonly lower: (saved: ReadonlySet<ValueId>) => LoweredStage;
  readonly tasks: readonly Task[];
  readonly numMicroBatches: number;
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

const MAX_ROUNDS = 6;
/** Space left over that is worth another round, as a share of the budget. */
const WORTH_FILLING = 0.01;

/**
 * Everything where that fits, else the choice that recomputes least. The bytes of kept and recomputed values are known
 * beforehand, the scratch beside them only once programs are laid out, so the choice is laid out and corrected until the
 * arena fits. When not even keeping nothing fits, whichever of all and nothing is smaller.
 */
export function keepWithin(request: KeepRequest): ReadonlySet<ValueId> {
  const { derivative, budgetBytes, lower } = request;
  const measure = (saved: ReadonlySet<ValueId>): WorkingMemory => workingMemory(lower(saved), request);
  const all = neededByBackward(derivative);
  const most = measure(all);
  if (most.arenaBytes <= budgetBytes) return all;
  const nothing: ReadonlySet<ValueId> = new Set();
  const least = measure(nothing);
  if (least.arenaBytes > budgetBytes) return least.arenaBytes < most.arenaBytes ? nothing : all;

  const problem = keepProblem(derivative, request.nodeSeconds);
  const numInFlight = Math.max(1, most.numSaved);
  const numRecomputed = Math.max(1, least.numRecomputed);
  const choose = (bytes: number) => chooseKept(problem, { numInFlight, numRecomputed, bytes });
  let bytes = numRecomputed * problem.neededBytes + budgetBytes - least.arenaBytes;
  let best = { kept: nothing, seconds: choose(0).recomputeSeconds };
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const choice = choose(bytes);
    const kept = new Set([...choice.kept].map((index) => problem.candidates[index]?.value ?? -1));
    const left = budgetBytes - measure(kept).arenaBytes;
    if (left >= 0 && choice.recomputeSeconds < best.seconds) best = { kept, seconds: choice.recomputeSeconds };
    if (left >= 0 && left < WORTH_FILLING * budgetBytes) break;
    bytes += left;
  }
  return best.kept;
}
