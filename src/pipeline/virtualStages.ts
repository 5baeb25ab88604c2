/** Virtual stages: the chain the model is cut into when each stage holds several chunks of it. */
import type { Schedule, Task } from './schedule.js';

export type ChunkLayout = Pick<Schedule, 'numStages' | 'numChunks' | 'placement'>;

export function numVirtualStages({ numStages, numChunks = 1 }: ChunkLayout): number {
  return numStages * numChunks;
}

/** What a stage holds, chunk by chunk. */
export function virtualStagesOn(layout: ChunkLayout, stage: number): number[] {
  return Array.from({ length: layout.numChunks ?? 1 }, (_, chunk) => virtualStageOf(layout, stage, chunk));
}

/** The stage where the model ends. */
export function lastStageOf(layout: ChunkLayout): number {
  return placeOf(layout, numVirtualStages(layout) - 1).stage;
}

/** Position in the chain of a stage's chunk. */
export function virtualStageOf(layout: ChunkLayout, stage: number, chunk = 0): number {
  const turned = layout.placement === 'vee' && chunk % 2 === 1;
  return chunk * layout.numStages + (turned ? layout.numStages - 1 - stage : stage);
}

/** The stage and chunk that hold a virtual stage. */
export function placeOf(layout: ChunkLayout, virtual: number): { readonly stage: number; readonly chunk: number } {
  const chunk = Math.floor(virtual / layout.numStages);
  const along = virtual % layout.numStages;
  const turned = layout.placement === 'vee' && chunk % 2 === 1;
  return { stage: turned ? layout.numStages - 1 - along : along, chunk };
}

/** One message between virtual stages; `from` and `to` are stages. Equal stages: a hand-over that needs no message. */
export interface Message {
  readonly what: 'activation' | 'gradient';
  readonly from: number;
  readonly to: number;
  /** The lower virtual stage of the boundary it crosses. */
  readonly boundary: number;
  readonly micro: number;
}

export interface TaskMessages {
  readonly receives: Message | null;
  readonly sends: Message | null;
}

/** What a task waits for and what it makes: F passes activations up the chain, B gradients down it. */
export function messagesOf(layout: ChunkLayout, stage: number, task: Task): TaskMessages {
  const virtual = virtualStageOf(layout, stage, task.chunk);
  const across = (what: Message['what'], boundary: number): Message | null => {
    if (boundary < 0 || boundary >= numVirtualStages(layout) - 1) return null;
    const [lower, upper] = [placeOf(layout, boundary).stage, placeOf(layout, boundary + 1).stage];
    const [from, to] = what === 'activation' ? [lower, upper] : [upper, lower];
    return { what, from, to, boundary, micro: task.micro };
  };
  if (task.kind === 'F') {
    return { receives: across('activation', virtual - 1), sends: across('activation', virtual) };
  }
  if (task.kind === 'B') return { receives: across('gradient', virtual), sends: across('gradient', virtual - 1) };
  return { receives: null, sends: null };
}

/** `F3`, and `F3.1` on a chunk beyond the first. */
export function taskLabel({ kind, micro, chunk = 0 }: Task): string {
  return `${kind}${micro}${chunk === 0 ? '' : `.${chunk}`}`;
}
