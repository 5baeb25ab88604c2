/** A stage's tasks as a rank's instructions, with a slot of each space for every micro-batch in flight. */
import type { Task } from '../pipeline/schedule.js';
import { type ChunkLayout, type Message, messagesOf } from '../pipeline/virtualStages.js';
import { chunkField } from './chunks.js';
import type { LoweredStage } from './lower.js';
import type { Instruction, Program, Space } from './plan.js';
import { SlotTable, type Slotted } from './slots.js';

/** Messages a rank may have posted to a peer and not yet seen taken: one under way, one being written. */
const NUM_SEND_SLOTS = 2;

export interface InstructionInput {
  readonly tasks: readonly Task[];
  /** The stage's chunks, in order. */
  readonly chunks: readonly LoweredStage[];
  readonly layout: ChunkLayout;
  readonly stage: number;
  readonly numMicroBatches: number;
  /** The rank of a stage in this rank's pipeline. */
  readonly rankOfStage: (stage: number) => number;
  /** What follows the tasks: training reduces and updates, evaluation reduces its metrics, prediction does nothing. */
  readonly closing: 'train' | 'evaluate' | 'predict';
  readonly reducesState: boolean;
}

export interface InstructionList {
  readonly instructions: readonly Instruction[];
  /** Bytes of every slot of the slotted spaces. */
  readonly slotBytes: Readonly<Record<Slotted, readonly number[]>>;
}

type What = Message['what'];
const SENT = { activation: 'sent', gradient: 'sentGradients' } as const;
const RECEIVED = { activation: 'received', gradient: 'receivedGradients' } as const;
const UNTIL_READ = ['batch', 'received', 'saved', 'receivedGradients', 'pending', 'recomputed'] as const;

/**
 * The gradient is awaited before recomputing, unless the schedule has an early R; load and receive come just before the
 * forward that reads them. Slots are reused as soon as the last program that reads them is done. Every receiver has send
 * slots of its own, as the checker of schedules assumes; results of the last virtual stage (predict) keep one per
 * micro-batch.
 */
export function listInstructions(input: InstructionInput): InstructionList {
  const { layout, stage } = input;
  const chunks = input.chunks.map(describe);
  const slots = new SlotTable();
  const instructions: Instruction[] = [{ kind: 'zero' }];
  const early = new Set<string>();
  const numSent = countSent(input);

  const bytesOf = (space: Slotted, chunk = 0) => input.chunks[chunk]?.bytes[space] ?? 0;
  const take = (space: Slotted, task: Pick<Task, 'micro' | 'chunk'>) =>
    slots.take(space, holderOf(task), bytesOf(space, task.chunk));

  /** A slot for what the program makes to send. */
  const takeSent = (what: What, task: Task, sends: Message | null) => {
    const [holder, bytes] = [holderOf(task), bytesOf(SENT[what], task.chunk)];
    if (sends === null) slots.takeInRing(SENT[what], 'results', input.numMicroBatches, holder, bytes);
    else {
      const name = ringOf(sends);
      // What is handed over within the rank leaves its slot at once.
      const atMost = sends.to === stage ? 1 : NUM_SEND_SLOTS;
      slots.takeInRing(SENT[what], name, Math.min(atMost, numSent.get(`${what} ${name}`) ?? 1), holder, bytes);
    }
  };
  const run = (kind: Program['kind'], task: Task, sends: Message | null = null) => {
    const chunk = chunks[task.chunk ?? 0];
    const spaces = chunk?.spaces.get(kind);
    if (chunk === undefined || spaces === undefined) return;
    const holder = holderOf(task);
    if (kind === 'forward' && chunk.has('sent')) takeSent('activation', task, sends);
    if (kind === 'backward' && chunk.has('sentGradients')) takeSent('gradient', task, sends);
    if (kind === 'backward' && chunk.has('pending')) take('pending', task);
    if (kind === 'forward' && chunk.has('saved')) take('saved', task);
    if (kind === 'recompute' && chunk.has('recomputed')) take('recomputed', task);
    const { micro } = task;
    instructions.push({ kind, micro, ...chunkField(task.chunk ?? 0), slots: slots.slotsOf(holder, spaces) });
    for (const space of UNTIL_READ) if (chunk.lastReader(space) === kind) slots.release(space, holder);
  };
  const receive = (message: Message | null, task: Task) => {
    if (message === null || message.from === stage) return;
    const { what, micro } = message;
    const space = RECEIVED[what];
    const bytes = bytesOf(space, task.chunk);
    if (bytes === 0) return;
    take(space, task);
    const slot = slots.held(space, holderOf(task));
    const peer = input.rankOfStage(message.from);
    instructions.push({ kind: 'receive', what, micro, ...chunkField(task.chunk ?? 0), slot, bytes, peer });
  };
  const send = (message: Message | null, task: Task) => {
    if (message === null) return;
    const { what, micro } = message;
    const chunk = task.chunk ?? 0;
    const bytes = bytesOf(SENT[what], chunk);
    if (bytes === 0) return;
    const slot = slots.held(SENT[what], holderOf(task));
    const common = { what, micro, ...chunkField(chunk), slot, bytes };
    if (message.to !== stage) {
      instructions.push({ kind: 'send', ...common, peer: input.rankOfStage(message.to) });
    } else {
      const taker = { micro, chunk: what === 'activation' ? chunk + 1 : chunk - 1 };
      take(RECEIVED[what], taker);
      instructions.push({ kind: 'handOver', ...common, to: slots.held(RECEIVED[what], holderOf(taker)) });
    }
    slots.release(SENT[what], holderOf(task));
  };

  for (const task of input.tasks) {
    const { receives, sends } = messagesOf(layout, stage, task);
    const holder = holderOf(task);
    if (task.kind === 'F') {
      if (chunks[task.chunk ?? 0]?.has('batch')) {
        take('batch', task);
        const slot = slots.held('batch', holder);
        instructions.push({ kind: 'load', micro: task.micro, ...chunkField(task.chunk ?? 0), slot });
      }
      receive(receives, task);
      run('forward', task, sends);
      send(sends, task);
    } else if (task.kind === 'R') {
      early.add(holder);
      run('recompute', task);
    } else if (task.kind === 'B') {
      receive(receives, task);
      if (!early.has(holder)) run('recompute', task);
      run('backward', task, sends);
      send(sends, task);
    } else {
      run('weights', task);
    }
  }
  if (input.closing !== 'predict') instructions.push({ kind: 'reduce' });
  if (input.closing === 'train') {
    if (input.reducesState) instructions.push({ kind: 'reduceState' });
    instructions.push({ kind: 'update' });
  }
  return { instructions, slotBytes: slots.slotBytes() };
}

/** The spaces a program reads or writes. */
function spacesOf(program: Program): Set<Space> {
  return new Set(program.values.map((value) => value.space));
}

interface Chunk {
  /** By the kinds of programs that it has. */
  readonly spaces: ReadonlyMap<Program['kind'], ReadonlySet<Space>>;
  readonly has: (space: Slotted) => boolean;
  readonly lastReader: (space: Slotted) => Program['kind'];
}

function describe({ programs, bytes }: LoweredStage): Chunk {
  const spaces = new Map(programs.map((program) => [program.kind, spacesOf(program)]));
  return {
    spaces,
    has: (space) => (bytes[space] ?? 0) > 0,
    lastReader: (space) =>
      (['weights', 'backward', 'recompute'] as const).find((kind) => spaces.get(kind)?.has(space)) ?? 'forward',
  };
}

function holderOf({ micro, chunk = 0 }: Pick<Task, 'micro' | 'chunk'>): string {
  return `${micro}.${chunk}`;
}

function ringOf(message: Message): string {
  return `to ${message.to}`;
}

/** Messages of each kind to each stage. */
function countSent({ tasks, layout, stage }: InstructionInput): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const task of tasks) {
    const { sends } = messagesOf(layout, stage, task);
    if (sends === null) continue;
    const key = `${sends.what} ${ringOf(sends)}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}
