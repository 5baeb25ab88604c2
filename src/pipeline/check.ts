/** Proves a schedule complete and free of deadlock, and bounds what it keeps in flight. */
import { MerakError } from '../errors.js';
import type { Schedule, Task } from './schedule.js';
import { type Message, messagesOf, numVirtualStages, placeOf, taskLabel } from './virtualStages.js';

export interface CheckOptions {
  /** Sends that wait for the receiver (rendezvous), as naive point-to-point code does. Default: asynchronous. */
  readonly blockingSends?: boolean;
  /** Messages a stage may have posted and not yet taken, per receiver and direction, before its next one waits. Default 2. */
  readonly slots?: number;
}

/** Per stage, the most micro-batches of any chunk at once in each state. */
export interface InFlight {
  /** Between F and B: they hold what B needs, or a checkpoint of it. */
  readonly forward: readonly number[];
  /** Between R and B. */
  readonly recomputed: readonly number[];
  /** Between F and the last of B and W: they hold activations. */
  readonly held: readonly number[];
}

/**
 * Complete: every chunk of every stage runs each F once, and (unless the schedule is forward-only) each B once after its
 * F, each R at most once between them, each W at most once after its B. Ordered: sender and receiver agree on the order of
 * their messages, which travel first in first out. Live: played with bounded asynchronous sends, every stage reaches its
 * end; an in-order schedule has one outcome whatever the timing, so one play proves all.
 *
 * @throws MerakError 'plan/invalid' (incomplete, disordered) or 'plan/deadlock' (naming who waits for what).
 */
export function checkSchedule(schedule: Schedule, options: CheckOptions = {}): InFlight {
  if (schedule.stages.length !== schedule.numStages) {
    throw invalid(`the schedule lists ${schedule.stages.length} stages and claims ${schedule.numStages}`);
  }
  schedule.stages.forEach((tasks, stage) => {
    checkTasks(tasks, stage, schedule);
  });
  checkMessageOrder(schedule);
  play(schedule, options.blockingSends ?? false, options.slots ?? 2);
  return {
    forward: schedule.stages.map((tasks) => peakBetween(tasks, 'F', ['B'])),
    recomputed: schedule.stages.map((tasks) => peakBetween(tasks, 'R', ['B'])),
    held: schedule.stages.map((tasks) => peakBetween(tasks, 'F', ['B', 'W'])),
  };
}

/** As `checkSchedule` counts, but for each virtual stage by itself. The schedule must be sound. */
export function inFlightByVirtualStage(schedule: Schedule): InFlight {
  const lists = Array.from({ length: numVirtualStages(schedule) }, (_, virtual) => {
    const { stage, chunk } = placeOf(schedule, virtual);
    return (schedule.stages[stage] ?? []).filter((task) => (task.chunk ?? 0) === chunk);
  });
  return {
    forward: lists.map((tasks) => peakBetween(tasks, 'F', ['B'])),
    recomputed: lists.map((tasks) => peakBetween(tasks, 'R', ['B'])),
    held: lists.map((tasks) => peakBetween(tasks, 'F', ['B', 'W'])),
  };
}

function invalid(message: string): MerakError {
  return new MerakError('plan/invalid', message);
}

function checkTasks(tasks: readonly Task[], stage: number, schedule: Schedule): void {
  const { numMicroBatches, numChunks = 1 } = schedule;
  const seen = new Set<string>();
  const trains = tasks.some((task) => task.kind === 'B');
  for (const task of tasks) {
    const { kind, micro, chunk = 0 } = task;
    const named = (other: Task['kind']) => taskLabel({ kind: other, micro, chunk });
    const name = named(kind);
    if (!Number.isInteger(micro) || micro < 0 || micro >= numMicroBatches) {
      throw invalid(`stage ${stage} runs ${name}, which is not a micro-batch of 0..${numMicroBatches - 1}`);
    }
    if (!Number.isInteger(chunk) || chunk < 0 || chunk >= numChunks) {
      throw invalid(`stage ${stage} runs ${name}, which is not of a chunk of 0..${numChunks - 1}`);
    }
    if (seen.has(name)) throw invalid(`stage ${stage} runs ${name} twice`);
    const before = kind === 'F' ? undefined : named(kind === 'W' ? 'B' : 'F');
    if (before !== undefined && !seen.has(before)) throw invalid(`stage ${stage} runs ${name} before ${before}`);
    if (kind === 'R' && seen.has(named('B'))) throw invalid(`stage ${stage} runs ${name} after ${named('B')}`);
    seen.add(name);
  }
  const splits = tasks.some((task) => task.kind === 'W');
  for (let micro = 0; micro < numMicroBatches; micro++) {
    for (let chunk = 0; chunk < numChunks; chunk++) {
      for (const kind of ['F', ...(trains ? ['B'] : []), ...(splits ? ['W'] : [])] as Task['kind'][]) {
        const name = taskLabel({ kind, micro, chunk });
        if (!seen.has(name)) throw invalid(`stage ${stage} never runs ${name}`);
      }
    }
  }
}

interface Step {
  readonly kind: 'send' | 'receive';
  /** Sender, receiver and what is sent: the order holds within each. */
  readonly channel: string;
  readonly task: string;
  readonly message: Message;
}

/** The messages of a stage in its order; hand-overs within a stage need none. */
function stepsOf(schedule: Schedule, stage: number): Step[] {
  return (schedule.stages[stage] ?? []).flatMap((task) => {
    const { receives, sends } = messagesOf(schedule, stage, task);
    const step = (kind: Step['kind'], message: Message | null): Step[] =>
      message === null || message.from === message.to
        ? []
        : [{ kind, message, task: taskLabel(task), channel: `${message.what} ${message.from} > ${message.to}` }];
    return [...step('receive', receives), ...step('send', sends)];
  });
}

function checkMessageOrder(schedule: Schedule): void {
  const sent = new Map<string, string[]>();
  const received = new Map<string, string[]>();
  for (let stage = 0; stage < schedule.numStages; stage++) {
    for (const { kind, channel, message } of stepsOf(schedule, stage)) {
      const lists = kind === 'send' ? sent : received;
      const list = lists.get(channel) ?? [];
      list.push(`${message.boundary}/${message.micro}`);
      lists.set(channel, list);
    }
  }
  for (const channel of new Set([...sent.keys(), ...received.keys()])) {
    if (sent.get(channel)?.join() !== received.get(channel)?.join()) {
      throw invalid(`both ends of '${channel}' (stages) run their tasks in different orders: messages would mix`);
    }
  }
}

function play(schedule: Schedule, blocking: boolean, slots: number): void {
  const steps = schedule.stages.map((_, stage) => stepsOf(schedule, stage));
  const next = steps.map(() => 0);
  const posted = new Map<string, number>();
  const taken = new Map<string, number>();
  const count = (map: Map<string, number>, channel: string) => map.get(channel) ?? 0;
  const current = (stage: number) => steps[stage]?.[next[stage] ?? 0];
  const receiverWaits = ({ channel, message }: Step) => {
    const step = current(message.to);
    return step?.kind === 'receive' && step.channel === channel;
  };

  let moved = true;
  while (moved) {
    moved = false;
    for (let stage = 0; stage < steps.length; stage++) {
      for (let step = current(stage); step !== undefined; step = current(stage)) {
        const waiting = count(posted, step.channel) - count(taken, step.channel);
        const sendWaits = blocking ? waiting > 0 || !receiverWaits(step) : waiting >= slots;
        if (step.kind === 'receive' ? waiting === 0 : sendWaits) break;
        const map = step.kind === 'receive' ? taken : posted;
        map.set(step.channel, count(map, step.channel) + 1);
        next[stage] = (next[stage] ?? 0) + 1;
        moved = true;
      }
    }
  }
  const stuck = steps.flatMap((_, stage) => {
    const step = current(stage);
    return step === undefined ? [] : [`stage ${stage} waits to ${step.kind} for ${step.task}`];
  });
  if (stuck.length > 0) {
    throw new MerakError('plan/deadlock', `schedule '${schedule.name}' cannot finish: ${stuck.join('; ')}`, {
      hint: blocking ? 'use asynchronous sends' : 'give the senders more slots, or reorder the tasks',
    });
  }
}

/** `until`: the kinds of which the last that the stage runs ends the wait. */
function peakBetween(tasks: readonly Task[], from: 'F' | 'R', until: readonly Task['kind'][]): number {
  const ends = new Map<string, number>();
  tasks.forEach(({ kind, micro, chunk = 0 }, at) => {
    if (until.includes(kind)) ends.set(`${micro}.${chunk}`, at);
  });
  const open = new Set<string>();
  let peak = 0;
  tasks.forEach(({ kind, micro, chunk = 0 }, at) => {
    const one = `${micro}.${chunk}`;
    if (kind === from) open.add(one);
    peak = Math.max(peak, open.size);
    if (ends.get(one) === at) open.delete(one);
  });
  return peak;
}
