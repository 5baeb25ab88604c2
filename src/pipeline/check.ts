/** Proves a schedule complete and free of deadlock, and bounds what it keeps in flight. */
import { MerakError } from '../errors.js';
import type { Schedule, Task } from './schedule.js';

export interface CheckOptions {
  /** Sends that wait for the receiver (rendezvous), as naive point-to-point code does. Default: asynchronous. */
  readonly blockingSends?: boolean;
  /** Messages a stage may have posted and not yet taken, per direction, before its next one waits. Default 2. */
  readonly slots?: number;
}

/** Per stage, the most micro-batches at once between F and B, and between R and B. */
export interface InFlight {
  readonly forward: readonly number[];
  readonly recomputed: readonly number[];
}

/**
 * Complete: every stage runs each F once, and (unless the schedule is forward-only) each B once after its F, each R at
 * most once between them, each W at most once after its B. Ordered: neighbours agree on the order of messages, which
 * travel first in first out. Live: played with bounded asynchronous sends, every stage reaches its end; an in-order
 * schedule has one outcome whatever the timing, so one play proves all.
 *
 * @throws MerakError 'plan/invalid' (incomplete, disordered) or 'plan/deadlock' (naming who waits for what).
 */
export function checkSchedule(schedule: Schedule, options: CheckOptions = {}): InFlight {
  schedule.stages.forEach((tasks, stage) => {
    checkTasks(tasks, stage, schedule.numMicroBatches);
  });
  if (schedule.stages.length !== schedule.numStages) {
    throw invalid(`the schedule lists ${schedule.stages.length} stages and claims ${schedule.numStages}`);
  }
  checkMessageOrder(schedule);
  play(schedule, options.blockingSends ?? false, options.slots ?? 2);
  return {
    forward: schedule.stages.map((tasks) => peakBetween(tasks, 'F')),
    recomputed: schedule.stages.map((tasks) => peakBetween(tasks, 'R')),
  };
}

function invalid(message: string): MerakError {
  return new MerakError('plan/invalid', message);
}

function checkTasks(tasks: readonly Task[], stage: number, numMicroBatches: number): void {
  const seen = new Set<string>();
  const trains = tasks.some((task) => task.kind === 'B');
  for (const { kind, micro } of tasks) {
    const name = `${kind}${micro}`;
    if (!Number.isInteger(micro) || micro < 0 || micro >= numMicroBatches) {
      throw invalid(`stage ${stage} runs ${name}, which is not a micro-batch of 0..${numMicroBatches - 1}`);
    }
    if (seen.has(name)) throw invalid(`stage ${stage} runs ${name} twice`);
    const before = kind === 'F' ? undefined : kind === 'W' ? `B${micro}` : `F${micro}`;
    if (before !== undefined && !seen.has(before)) throw invalid(`stage ${stage} runs ${name} before ${before}`);
    if (kind === 'R' && seen.has(`B${micro}`)) throw invalid(`stage ${stage} runs ${name} after B${micro}`);
    seen.add(name);
  }
  for (let micro = 0; micro < numMicroBatches; micro++) {
    for (const kind of trains ? ['F', 'B'] : ['F']) {
      if (!seen.has(`${kind}${micro}`)) throw invalid(`stage ${stage} never runs ${kind}${micro}`);
    }
  }
}

function checkMessageOrder(schedule: Schedule): void {
  for (let stage = 1; stage < schedule.numStages; stage++) {
    for (const kind of ['F', 'B'] as const) {
      const [above, here] = [schedule.stages[stage - 1], schedule.stages[stage]].map((tasks) =>
        (tasks ?? []).filter((task) => task.kind === kind).map((task) => task.micro),
      );
      if (above?.join() !== here?.join()) {
        throw invalid(`stages ${stage - 1} and ${stage} run their ${kind}s in different orders: messages would mix`);
      }
    }
  }
}

type Step = { readonly kind: 'send' | 'receive'; readonly channel: string; readonly task: string };

/** The messages of a stage in order: activations down (`a`), gradients up (`g`); a channel is named by its lower stage. */
function messages(tasks: readonly Task[], stage: number, numStages: number): Step[] {
  return tasks.flatMap(({ kind, micro }): Step[] => {
    const task = `${kind}${micro}`;
    const steps: Step[] = [];
    if (kind === 'F') {
      if (stage > 0) steps.push({ kind: 'receive', channel: `a${stage - 1}`, task });
      if (stage < numStages - 1) steps.push({ kind: 'send', channel: `a${stage}`, task });
    } else if (kind === 'B') {
      if (stage < numStages - 1) steps.push({ kind: 'receive', channel: `g${stage}`, task });
      if (stage > 0) steps.push({ kind: 'send', channel: `g${stage - 1}`, task });
    }
    return steps;
  });
}

function play(schedule: Schedule, blocking: boolean, slots: number): void {
  const steps = schedule.stages.map((tasks, stage) => messages(tasks, stage, schedule.numStages));
  const next = steps.map(() => 0);
  const posted = new Map<string, number>();
  const taken = new Map<string, number>();
  const count = (map: Map<string, number>, channel: string) => map.get(channel) ?? 0;
  const current = (stage: number) => steps[stage]?.[next[stage] ?? 0];
  const receiverWaits = (channel: string) =>
    steps.some((_, stage) => current(stage)?.kind === 'receive' && current(stage)?.channel === channel);

  let moved = true;
  while (moved) {
    moved = false;
    for (let stage = 0; stage < steps.length; stage++) {
      for (let step = current(stage); step !== undefined; step = current(stage)) {
        const waiting = count(posted, step.channel) - count(taken, step.channel);
        const sendWaits = blocking ? waiting > 0 || !receiverWaits(step.channel) : waiting >= slots;
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

function peakBetween(tasks: readonly Task[], from: 'F' | 'R'): number {
  const open = new Set<number>();
  let peak = 0;
  for (const { kind, micro } of tasks) {
    if (kind === from) open.add(micro);
    peak = Math.max(peak, open.size);
    if (kind === 'B') open.delete(micro);
  }
  return peak;
}
