/** A schedule as flat arrays, in one order in which it can be played: pricing it again is one pass over numbers. */
import { MerakError } from '../../errors.js';
import type { InFlight } from '../../pipeline/check.js';
import type { Schedule, Task } from '../../pipeline/schedule.js';
import type { VirtualStageSeconds } from '../../pipeline/simulate.js';
import { messagesOf, numVirtualStages, virtualStageOf } from '../../pipeline/virtualStages.js';

/** Index by position in the order. -1: none. */
export interface PlayOrder {
  readonly numStages: number;
  readonly stage: Int16Array;
  readonly virtual: Int16Array;
  readonly kind: Uint8Array;
  /** The task whose message this one waits for. */
  readonly awaited: Int32Array;
  /** The task whose message must have arrived before this one may send: the engine has two slots per channel. */
  readonly blocker: Int32Array;
  /** 2 x boundary of the message it sends, + 1 for gradients; -2: a hand-over within the stage. */
  readonly channel: Int32Array;
}

/** Seconds of one message: while it takes up its link, and from there to its arrival. */
export interface Hop {
  readonly occupiedSeconds: number;
  readonly latencySeconds: number;
}

const [F, R, B, W] = [0, 1, 2, 3] as const;
const KINDS = { F, R, B, W } as const;
/** Flags of a B that does what no R and no W does. */
const RECOMPUTES = 4;
const WEIGHTS = 8;
const HANDED_OVER = -2;
const SEND_SLOTS = 2;

/** @throws MerakError 'plan/deadlock' when tasks wait for each other. */
export function playOrder(schedule: Schedule): PlayOrder {
  const { numStages, numMicroBatches, stages } = schedule;
  const numVirtual = numVirtualStages(schedule);
  const numTasks = stages.reduce((sum, tasks) => sum + tasks.length, 0);
  const order = {
    numStages,
    stage: new Int16Array(numTasks),
    virtual: new Int16Array(numTasks),
    kind: new Uint8Array(numTasks),
    awaited: new Int32Array(numTasks).fill(-1),
    blocker: new Int32Array(numTasks).fill(-1),
    channel: new Int32Array(numTasks).fill(-1),
  };
  // Where forwards and backwards of (virtual stage, micro-batch) stand in the order.
  const placed = { F: new Int32Array(numVirtual * numMicroBatches).fill(-1), B: new Int32Array(0) };
  placed.B = placed.F.slice();
  const next = stages.map(() => 0);
  const sent = new Map<string, number[]>();
  const split = stages.map((tasks) => splits(tasks, numMicroBatches));
  let at = 0;
  const place = (stage: number, task: Task): boolean => {
    const virtual = virtualStageOf(schedule, stage, task.chunk);
    const { receives, sends } = messagesOf(schedule, stage, task);
    if (receives !== null) {
      const sender = receives.what === 'activation' ? receives.boundary : receives.boundary + 1;
      const list = receives.what === 'activation' ? placed.F : placed.B;
      const producer = list[sender * numMicroBatches + task.micro] ?? -1;
      if (producer < 0) return false;
      order.awaited[at] = producer;
    }
    const key = task.micro + numMicroBatches * (task.chunk ?? 0);
    const { early, weights } = split[stage] ?? { early: new Set(), weights: false };
    const flags = task.kind === 'B' ? (early.has(key) ? 0 : RECOMPUTES) + (weights ? 0 : WEIGHTS) : 0;
    order.stage[at] = stage;
    order.virtual[at] = virtual;
    order.kind[at] = KINDS[task.kind] + flags;
    if (sends !== null && sends.from === sends.to) order.channel[at] = HANDED_OVER;
    else if (sends !== null) {
      order.channel[at] = 2 * sends.boundary + (sends.what === 'gradient' ? 1 : 0);
      const name = `${sends.what} ${sends.from} ${sends.to}`;
      const earlier = sent.get(name) ?? [];
      order.blocker[at] = earlier.at(-SEND_SLOTS) ?? -1;
      earlier.push(at);
      sent.set(name, earlier);
    }
    if (task.kind === 'F' || task.kind === 'B') placed[task.kind][virtual * numMicroBatches + task.micro] = at;
    at++;
    return true;
  };
  for (let moved = true; moved; ) {
    moved = false;
    for (let stage = 0; stage < numStages; stage++) {
      const tasks = stages[stage] ?? [];
      for (let index = next[stage] ?? 0; index < tasks.length; index++) {
        const task = tasks[index];
        if (task === undefined || !place(stage, task)) break;
        next[stage] = index + 1;
        moved = true;
      }
    }
  }
  if (at < numTasks) throw new MerakError('plan/deadlock', `schedule '${schedule.name}' cannot finish`);
  return order;
}

/** Which micro-batches a stage recomputes early, and whether it has weight tasks. */
function splits(
  tasks: readonly Task[],
  numMicroBatches: number,
): { readonly early: ReadonlySet<number>; readonly weights: boolean } {
  const early = tasks.filter(({ kind }) => kind === 'R').map(({ micro, chunk = 0 }) => micro + numMicroBatches * chunk);
  return { early: new Set(early), weights: tasks.some(({ kind }) => kind === 'W') };
}

/**
 * When each stage ends its last task. As `simulate` with transfers in the background and a link of its own per boundary and
 * direction; messages that overlap on a link go one after the other, where the simulator has them share it.
 *
 * @param seconds by virtual stage
 * @param hops by channel: 2 x boundary, + 1 for gradients
 */
export function play(order: PlayOrder, seconds: readonly VirtualStageSeconds[], hops: readonly Hop[]): Float64Array {
  const { stage, virtual, kind, awaited, blocker, channel } = order;
  const free = new Float64Array(order.numStages);
  const linkFree = new Float64Array(hops.length);
  const arrival = new Float64Array(stage.length);
  // Per virtual stage: F, R, W, and B with what it does beside.
  const table = Float64Array.from(seconds.flatMap((one) => durations(one)));
  for (let task = 0; task < stage.length; task++) {
    const on = stage[task] as number;
    let start = free[on] as number;
    const from = awaited[task] as number;
    if (from >= 0) start = Math.max(start, arrival[from] as number);
    const behind = blocker[task] as number;
    if (behind >= 0) start = Math.max(start, arrival[behind] as number);
    const end = start + (table[16 * (virtual[task] as number) + (kind[task] as number)] as number);
    free[on] = end;
    const through = channel[task] as number;
    if (through === HANDED_OVER) arrival[task] = end;
    else if (through >= 0) {
      const { occupiedSeconds, latencySeconds } = hops[through] ?? FREE;
      const gone = Math.max(end, linkFree[through] as number) + occupiedSeconds;
      linkFree[through] = gone;
      arrival[task] = gone + latencySeconds;
    }
  }
  return free;
}

const FREE: Hop = { occupiedSeconds: 0, latencySeconds: 0 };

function durations({ forward, recompute, inputGradient, weightGradient }: VirtualStageSeconds): number[] {
  return Array.from({ length: 16 }, (_, code) => {
    const kind = code & 3;
    if (kind === F) return forward;
    if (kind === R) return recompute;
    if (kind === W) return weightGradient;
    return inputGradient + ((code & RECOMPUTES) !== 0 ? recompute : 0) + ((code & WEIGHTS) !== 0 ? weightGradient : 0);
  });
}

/** As `inFlightByVirtualStage` of a sound schedule, by counting. */
export function inFlightOf(schedule: Schedule): InFlight {
  const numVirtual = numVirtualStages(schedule);
  const counts = Array.from({ length: numVirtual }, () => ({ forward: 0, recomputed: 0, held: 0 }));
  const peaks = counts.map((one) => ({ ...one }));
  schedule.stages.forEach((tasks, stage) => {
    const { weights, early } = splits(tasks, schedule.numMicroBatches);
    for (const { kind, chunk = 0 } of tasks) {
      const virtual = virtualStageOf(schedule, stage, chunk);
      const [now, most] = [counts[virtual], peaks[virtual]];
      if (now === undefined || most === undefined) continue;
      if (kind === 'F') {
        most.forward = Math.max(most.forward, ++now.forward);
        most.held = Math.max(most.held, ++now.held);
      }
      if (kind === 'R') most.recomputed = Math.max(most.recomputed, ++now.recomputed);
      if (kind === 'B') now.forward--;
      if (kind === 'B' && early.size > 0 && now.recomputed > 0) now.recomputed--;
      if (kind === (weights ? 'W' : 'B')) now.held--;
    }
  });
  return {
    forward: peaks.map(({ forward }) => forward),
    recomputed: peaks.map(({ recomputed }) => recomputed),
    held: peaks.map(({ held }) => held),
  };
}
