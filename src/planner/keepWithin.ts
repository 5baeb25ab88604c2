/** What the chunks of a stage keep under a budget of bytes, by the exact memory map of their lowered programs. */
import type { Derivative } from '../autodiff/derivative.js';
import { neededByBackward } from '../autodiff/needed.js';
import type { ValueId } from '../graph/graph.js';
import type { LoweredStage } from '../plan/lower.js';
import { chooseKept } from '../recompute/chooseKept.js';
import { keepProblem, type NodeSeconds } from '../recompute/keepProblem.js';
import { type StagePosition, type WorkingMemory, workingMemory } from './workingMemory.js';

export interface KeepRequest extends StagePosition {
  /** In order; `lower`: the chunk's programs when exactly these values are kept. */
  readonly chunks: readonly {
    readonly derivative: Derivative;
    readonly lower: (saved: ReadonlySet<ValueId>) => LoweredStage;
  }[];
  /** For the training executable's arena. */
  readonly budgetBytes: number;
  readonly nodeSeconds: NodeSeconds;
}

type Kept = readonly ReadonlySet<ValueId>[];

const MAX_ROUNDS = 6;
/** Space left over that is worth another round, as a share of the budget. */
const WORTH_FILLING = 0.01;

/**
 * Everything where that fits, else the choice that recomputes least. The bytes of kept and recomputed values are known
 * beforehand, the scratch beside them only once programs are laid out, so the choice is laid out and corrected until the
 * arena fits. Slots are as large as the largest chunk wants them, so every chunk may fill the same room. When not even
 * keeping nothing fits, whichever of all and nothing is smaller. In step with `chunks`.
 */
export function keepWithin(request: KeepRequest): Kept {
  const { chunks, budgetBytes } = request;
  const measure = (saved: Kept): WorkingMemory =>
    workingMemory(
      chunks.map(({ lower }, index) => lower(saved[index] ?? new Set())),
      request,
    );
  const all = chunks.map(({ derivative }) => neededByBackward(derivative));
  const most = measure(all);
  if (most.arenaBytes <= budgetBytes) return all;
  const nothing = chunks.map((): ReadonlySet<ValueId> => new Set());
  const least = measure(nothing);
  if (least.arenaBytes > budgetBytes) return least.arenaBytes < most.arenaBytes ? nothing : all;

  const problems = chunks.map(({ derivative }) => keepProblem(derivative, request.nodeSeconds));
  const numInFlight = Math.max(1, most.numSaved);
  const numRecomputed = Math.max(1, least.numRecomputed);
  /** With so many bytes more than keeping nothing takes. */
  const choose = (room: number) => {
    const choices = problems.map((problem) =>
      chooseKept(problem, { numInFlight, numRecomputed, bytes: numRecomputed * problem.neededBytes + room }),
    );
    const kept = choices.map((choice, index) => {
      const candidates = problems[index]?.candidates ?? [];
      return new Set([...choice.kept].map((candidate) => candidates[candidate]?.value ?? -1));
    });
    return { kept, seconds: choices.reduce((sum, { recomputeSeconds }) => sum + recomputeSeconds, 0) };
  };
  let room = budgetBytes - least.arenaBytes;
  const leastRoom = -numRecomputed * Math.max(0, ...problems.map(({ neededBytes }) => neededBytes));
  let best: { readonly kept: Kept; readonly seconds: number } = { kept: nothing, seconds: choose(leastRoom).seconds };
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const choice = choose(room);
    const left = budgetBytes - measure(choice.kept).arenaBytes;
    if (left >= 0 && choice.seconds < best.seconds) best = choice;
    if (left >= 0 && left < WORTH_FILLING * budgetBytes) break;
    room += left;
  }
  return best.kept;
}
