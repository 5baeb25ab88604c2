/** A stage's tasks as a rank's instructions, with a slot of each space for every micro-batch in flight. */
import type { Task } from '../pipeline/schedule.js';
import type { LoweredStage } from './lower.js';
import type { Instruction, Program, Slots, Space } from './plan.js';

const SLOTTED = [
  'batch',
  'received',
  'sent',
  'saved',
  'receivedGradients',
  'sentGradients',
  'pending',
  'recomputed',
] as const;
type Slotted = (typeof SLOTTED)[number];

/** Messages a rank may have posted and not yet taken: one under way, one being written. */
const NUM_SEND_SLOTS = 2;

export interface InstructionInput {
  readonly tasks: readonly Task[];
  readonly lowered: LoweredStage;
  readonly numMicroBatches: number;
  /** Ranks of the stages before and after in this rank's pipeline; null at the ends. */
  readonly before: number | null;
  readonly after: number | null;
  /** What follows the tasks: training reduces and updates, evaluation reduces its metrics, prediction does nothing. */
  readonly closing: 'train' | 'evaluate' | 'predict';
  readonly reducesState: boolean;
}

export interface InstructionList {
  readonly instructions: readonly Instruction[];
  readonly numSlots: Readonly<Record<Slotted, number>>;
}

/**
 * The gradient is awaited before recomputing, unless the schedule has an early R; load and receive come just before the
 * forward that reads them. Slots are reused as soon as the last program that reads them is done. Results of a last
 * stage (predict) keep one `sent` slot per micro-batch.
 */
export function listInstructions(input: InstructionInput): InstructionList {
  const { lowered } = input;
  const programs = new Map(lowered.programs.map((program) => [program.kind, program]));
  const spaces = new Map(lowered.programs.map((program) => [program.kind, spacesOf(program)]));
  const present = (space: Slotted) => (lowered.bytes[space] ?? 0) > 0;
  const slots = new SlotTable();
  const instructions: Instruction[] = [{ kind: 'zero' }];
  const early = new Set<number>();

  const lastReader = (space: Slotted): Program['kind'] =>
    (['weights', 'backward', 'recompute'] as const).find((kind) => spaces.get(kind)?.has(space)) ?? 'forward';
  const run = (kind: Program['kind'], micro: number) => {
    if (!programs.has(kind)) return;
    if (kind === 'forward' && present('sent')) {
      slots.take('sent', micro, input.after === null ? micro : slots.nextInRing('sent', sendSlots()));
    }
    if (kind === 'backward' && present('sentGradients')) {
      slots.take('sentGradients', micro, slots.nextInRing('sentGradients', sendSlots()));
    }
    if (kind === 'backward' && present('pending')) slots.take('pending', micro);
    if (kind === 'forward' && present('saved')) slots.take('saved', micro);
    if (kind === 'recompute' && present('recomputed')) slots.take('recomputed', micro);
    instructions.push({ kind, micro, slots: slots.of(micro, spaces.get(kind) ?? new Set()) });
    for (const space of ['batch', 'received', 'saved', 'receivedGradients', 'pending', 'recomputed'] as const) {
      if (lastReader(space) === kind) slots.release(space, micro);
    }
  };
  const sendSlots = () => Math.min(NUM_SEND_SLOTS, input.numMicroBatches);
  const message = (kind: 'send' | 'receive', what: 'activation' | 'gradient', micro: number, peer: number | null) => {
    const received = what === 'activation' ? 'received' : 'receivedGradients';
    const space = kind === 'receive' ? received : what === 'activation' ? 'sent' : 'sentGradients';
    if (peer === null || !present(space)) return;
    if (kind === 'receive') slots.take(space, micro);
    instructions.push({ kind, what, micro, slot: slots.held(space, micro), peer });
    if (kind === 'send') slots.release(space, micro);
  };

  for (const { kind, micro } of input.tasks) {
    if (kind === 'F') {
      if (present('batch')) {
        slots.take('batch', micro);
        instructions.push({ kind: 'load', micro, slot: slots.held('batch', micro) });
      }
      message('receive', 'activation', micro, input.before);
      run('forward', micro);
      message('send', 'activation', micro, input.after);
    } else if (kind === 'R') {
      early.add(micro);
      run('recompute', micro);
    } else if (kind === 'B') {
      message('receive', 'gradient', micro, input.after);
      if (!early.has(micro)) run('recompute', micro);
      run('backward', micro);
      message('send', 'gradient', micro, input.before);
    } else {
      run('weights', micro);
    }
  }
  if (input.closing !== 'predict') instructions.push({ kind: 'reduce' });
  if (input.closing === 'train') {
    if (input.reducesState) instructions.push({ kind: 'reduceState' });
    instructions.push({ kind: 'update' });
  }
  return { instructions, numSlots: slots.numSlots() };
}

/** The spaces a program reads or writes. */
export function spacesOf(program: Program): Set<Space> {
  return new Set(program.values.map((value) => value.space));
}

/** Which micro-batch holds which slot of each slotted space. */
class SlotTable {
  private readonly holders = new Map<Slotted, (number | null)[]>(SLOTTED.map((space) => [space, []]));
  private readonly turns = new Map<Slotted, number>();

  /** Takes the lowest free slot, or the given one, for a micro-batch. */
  take(space: Slotted, micro: number, slot?: number): void {
    const holders = this.holders.get(space) ?? [];
    const free = holders.indexOf(null);
    const chosen = slot ?? (free >= 0 ? free : holders.length);
    while (holders.length <= chosen) holders.push(null);
    holders[chosen] = micro;
  }

  release(space: Slotted, micro: number): void {
    const holders = this.holders.get(space) ?? [];
    const slot = holders.indexOf(micro);
    if (slot >= 0) holders[slot] = null;
  }

  held(space: Slotted, micro: number): number {
    return (this.holders.get(space) ?? []).indexOf(micro);
  }

  /** Send slots go round and round, so that the slot written next is the one whose message is oldest. */
  nextInRing(space: Slotted, numSlots: number): number {
    const turn = this.turns.get(space) ?? 0;
    this.turns.set(space, turn + 1);
    return turn % numSlots;
  }

  of(micro: number, used: ReadonlySet<Space>): Slots {
    const slot = (space: Slotted) => (used.has(space) ? this.held(space, micro) : -1);
    return {
      batch: slot('batch'),
      received: slot('received'),
      sent: slot('sent'),
      saved: slot('saved'),
      receivedGradients: slot('receivedGradients'),
      sentGradients: slot('sentGradients'),
      pending: slot('pending'),
      recomputed: slot('recomputed'),
    };
  }

  numSlots(): Record<Slotted, number> {
    const count = (space: Slotted) => (this.holders.get(space) ?? []).length;
    return {
      batch: count('batch'),
      received: count('received'),
      sent: count('sent'),
      saved: count('saved'),
      receivedGradients: count('receivedGradients'),
      sentGradients: count('sentGradients'),
      pending: count('pending'),
      recomputed: count('recomputed'),
    };
  }
}
