/** Plays a schedule against costs: when every task and message runs, what idles, what is held. Numbers only. */
import { MerakError } from '../errors.js';
import { EventQueue } from './eventQueue.js';
import { type Link, Network, type Transfer } from './network.js';
import { peakBytes, type VirtualStageMemory } from './peakBytes.js';
import type { Schedule, Task } from './schedule.js';
import { type Message, messagesOf, numVirtualStages, taskLabel, virtualStageOf } from './virtualStages.js';

/** Seconds of one micro-batch on one virtual stage. */
export interface VirtualStageSeconds {
  readonly forward: number;
  /** 0: the stage keeps what backward needs. */
  readonly recompute: number;
  readonly inputGradient: number;
  /** Added to B where the schedule has no W. */
  readonly weightGradient: number;
}

/** What crosses from virtual stage v to v + 1, and back. */
export interface Boundary {
  readonly activation: Transfer;
  readonly gradient: Transfer;
}

/** An exchange after the tasks: it begins when all its stages have come to it. */
export interface Collective {
  readonly name: string;
  readonly stages: readonly number[];
  readonly transfer: Transfer;
}

export interface SimulationInput {
  readonly schedule: Schedule;
  /** By virtual stage. */
  readonly seconds: readonly VirtualStageSeconds[];
  /** By lower virtual stage; absent: messages take no time. */
  readonly boundaries?: readonly Boundary[];
  readonly links?: readonly Link[];
  /** Messages of a kind that a stage may have posted to another and not yet seen taken. Default: the engine's 2. */
  readonly sendSlots?: number;
  /**
   * `background` (default): data moves beside the computing (a NIC, a copy engine). `receiver`: the receiver's own thread
   * copies, when it needs the data, as between processes on one host.
   */
  readonly transfers?: 'background' | 'receiver';
  /** In the order in which every stage joins its own. */
  readonly collectives?: readonly Collective[];
  /** Per stage, after the collectives. */
  readonly updateSeconds?: readonly number[];
  /**
   * All stages compute on `count` processors, one each at most, which they divide evenly when more want one; `copies`:
   * pipelines like this one on the same processors. Absent: nobody shares.
   */
  readonly processors?: { readonly count: number; readonly copies: number };
  /** By virtual stage. */
  readonly memory?: readonly VirtualStageMemory[];
}

/** `label` is 'F3', 'R3', 'B3', 'W3', 'F3.1' on chunk 1, or 'RB3' for a backward that recomputes first. */
export interface TimedTask extends Task {
  readonly label: string;
  readonly start: number;
  readonly end: number;
}

export interface TimedTransfer extends Omit<Message, 'what'> {
  readonly what: Message['what'] | 'collective';
  readonly label: string;
  readonly start: number;
  readonly end: number;
}

export interface Simulation {
  /** Until the last update is done. */
  readonly stepSeconds: number;
  /** Until the last task is done. */
  readonly pipelineSeconds: number;
  /** Share of all stages' time, until the last task, in which they compute nothing. */
  readonly bubble: number;
  /** Per stage: pipelineSeconds less its tasks. */
  readonly idleSeconds: readonly number[];
  /** Per stage; 0 without `memory`. */
  readonly peakBytes: readonly number[];
  /** Per stage, in order. */
  readonly tasks: readonly (readonly TimedTask[])[];
  readonly transfers: readonly TimedTransfer[];
}

const ENGINE_SEND_SLOTS = 2;

/** @throws MerakError 'plan/deadlock' when tasks, slots or collectives wait for each other. */
export function simulate(input: SimulationInput): Simulation {
  const run = new Run(input);
  run.play();
  const pipelineSeconds = Math.max(0, ...run.tasks.map((row) => row.at(-1)?.end ?? 0));
  const busy = run.tasks.map((row) => row.reduce((sum, task) => sum + task.end - task.start, 0));
  const { numStages } = input.schedule;
  return {
    stepSeconds: Math.max(pipelineSeconds, ...run.ends),
    pipelineSeconds,
    bubble: pipelineSeconds === 0 ? 0 : 1 - busy.reduce((a, b) => a + b, 0) / (numStages * pipelineSeconds),
    idleSeconds: busy.map((seconds) => pipelineSeconds - seconds),
    peakBytes: peakBytes(input.schedule, input.memory),
    tasks: run.tasks,
    transfers: run.transfers,
  };
}

class Run {
  readonly tasks: TimedTask[][];
  readonly transfers: TimedTransfer[] = [];
  readonly ends: number[];
  private readonly events = new EventQueue<() => void>();
  private readonly network: Network;
  private readonly numCollectives: number[];
  private readonly joined: number[];
  private readonly posted = new Map<string, number>();
  private readonly arrived = new Set<string>();
  private readonly waiting = new Map<string, () => void>();
  /** Per sender, receiver and kind of message: keys in the order sent. */
  private readonly sent = new Map<string, string[]>();
  private readonly seconds: readonly (readonly number[])[];

  constructor(private readonly input: SimulationInput) {
    const { schedule } = input;
    this.tasks = schedule.stages.map(() => []);
    this.ends = schedule.stages.map(() => 0);
    this.numCollectives = schedule.stages.map(() => 0);
    this.joined = (input.collectives ?? []).map(() => 0);
    this.network = new Network([...(input.links ?? []), ...processorLinks(input)], this.events);
    this.seconds = schedule.stages.map((tasks, stage) => taskSeconds(schedule, stage, tasks, input.seconds));
  }

  play(): void {
    this.input.schedule.stages.forEach((_, stage) => {
      this.advance(stage, 0);
    });
    for (let next = this.events.take(); next !== undefined; next = this.events.take()) next.event();
    const late = this.tasks.findIndex((row, stage) => row.length < (this.input.schedule.stages[stage]?.length ?? 0));
    if (late >= 0) {
      const task = this.input.schedule.stages[late]?.[this.tasks[late]?.length ?? 0];
      throw new MerakError('plan/deadlock', `schedule '${this.input.schedule.name}' cannot finish`, {
        path: `stage ${late}${task === undefined ? '' : `, ${taskLabel(task)}`}`,
        hint: 'checkSchedule says who waits for whom',
      });
    }
  }

  /** Goes on with a stage that is free at `now`: its next task, or what follows them. */
  private advance(stage: number, now: number): void {
    const { schedule } = this.input;
    const at = this.tasks[stage]?.length ?? 0;
    const task = schedule.stages[stage]?.[at];
    if (task === undefined) {
      this.close(stage, now);
      return;
    }
    const { receives, sends } = messagesOf(schedule, stage, task);
    this.receive(receives, now, (ready) =>
      this.awaitSlot(sends, ready, (start) => {
        this.compute(stage, start, this.seconds[stage]?.[at] ?? 0, (end) => {
          this.tasks[stage]?.push({ ...task, label: this.labelOf(stage, task), start, end });
          if (sends !== null) this.post(sends, end);
          this.advance(stage, end);
        });
      }),
    );
  }

  /** Sharing processors is sharing links: a task is a transfer of its seconds over its stage's own and the common one. */
  private compute(stage: number, start: number, seconds: number, then: (end: number) => void): void {
    const { processors, links = [], schedule } = this.input;
    if (processors === undefined) {
      this.events.add(start + seconds, () => then(start + seconds));
      return;
    }
    const route = [links.length + stage, links.length + schedule.numStages];
    this.network.start(start, { bytes: seconds, route, copies: processors.copies }, then);
  }

  private receive(message: Message | null, now: number, then: (time: number) => void): void {
    if (message === null) {
      then(now);
      return;
    }
    const key = keyOf(message);
    const inBackground = this.input.transfers !== 'receiver' || message.from === message.to;
    const isThere = inBackground ? this.arrived.has(key) : this.posted.has(key);
    const go = (time: number) => {
      if (inBackground) then(time);
      else this.transfer(message, time, then);
    };
    if (isThere) go(now);
    else this.waiting.set(`receive ${key}`, () => go(Math.max(now, this.posted.get(key) ?? now)));
  }

  private awaitSlot(message: Message | null, now: number, then: (time: number) => void): void {
    if (message === null || message.from === message.to) {
      then(now);
      return;
    }
    const sent = this.sent.get(channelOf(message)) ?? [];
    const blocker = sent[sent.length - (this.input.sendSlots ?? ENGINE_SEND_SLOTS)];
    if (blocker === undefined || this.arrived.has(blocker)) then(now);
    else this.waiting.set(`slot ${blocker}`, () => then(Math.max(now, this.posted.get(blocker) ?? now)));
  }

  private post(message: Message, now: number): void {
    const key = keyOf(message);
    this.posted.set(key, now);
    if (message.from === message.to) {
      this.deliver(key, now);
      return;
    }
    const channel = channelOf(message);
    const sent = this.sent.get(channel);
    if (sent === undefined) this.sent.set(channel, [key]);
    else sent.push(key);
    if (this.input.transfers === 'receiver') this.wake(`receive ${key}`);
    else this.transfer(message, now, () => {});
  }

  private transfer(message: Message, now: number, then: (time: number) => void): void {
    const boundary = this.input.boundaries?.[message.boundary];
    const transfer = boundary?.[message.what] ?? { bytes: 0, route: [] };
    this.network.start(now, transfer, (time) => {
      const label = `${message.what === 'activation' ? 'a' : 'g'}${message.micro}`;
      this.transfers.push({ ...message, label, start: now, end: time });
      this.deliver(keyOf(message), time);
      then(time);
    });
  }

  /** `posted` then holds when the message was there to use. */
  private deliver(key: string, now: number): void {
    this.arrived.add(key);
    this.posted.set(key, now);
    this.wake(`slot ${key}`);
    if (this.input.transfers !== 'receiver') this.wake(`receive ${key}`);
  }

  private wake(key: string): void {
    const waiter = this.waiting.get(key);
    this.waiting.delete(key);
    waiter?.();
  }

  private close(stage: number, now: number): void {
    const collectives = this.input.collectives ?? [];
    let at = this.numCollectives[stage] ?? 0;
    while (at < collectives.length && !collectives[at]?.stages.includes(stage)) at++;
    this.numCollectives[stage] = at + 1;
    const collective = collectives[at];
    if (collective === undefined) {
      this.ends[stage] = now + (this.input.updateSeconds?.[stage] ?? 0);
      return;
    }
    this.joined[at] = (this.joined[at] ?? 0) + 1;
    if ((this.joined[at] ?? 0) < collective.stages.length) return;
    this.network.start(now, collective.transfer, (end) => {
      const from = collective.stages[0] ?? stage;
      this.transfers.push({
        what: 'collective',
        label: collective.name,
        from,
        to: from,
        boundary: -1,
        micro: -1,
        start: now,
        end,
      });
      for (const member of collective.stages) this.advance(member, end);
    });
  }

  private labelOf(stage: number, task: Task): string {
    const label = taskLabel(task);
    const { recompute = 0 } = this.input.seconds[virtualStageOf(this.input.schedule, stage, task.chunk)] ?? {};
    const hasEarly = (row: readonly Task[]) => row.some((one) => one.kind === 'R' && isSame(one, task));
    return task.kind === 'B' && recompute > 0 && !hasEarly(this.tasks[stage] ?? []) ? `R${label}` : label;
  }
}

function processorLinks({ processors, schedule }: SimulationInput): Link[] {
  if (processors === undefined) return [];
  const link = (name: string, bytesPerSecond: number): Link => ({ name, latencySeconds: 0, bytesPerSecond });
  const own = schedule.stages.map((_, stage) => link(`processor of stage ${stage}`, processors.copies));
  return [...own, link('processors', processors.count)];
}

function isSame(a: Task, b: Task): boolean {
  return a.micro === b.micro && (a.chunk ?? 0) === (b.chunk ?? 0);
}

function channelOf({ what, from, to }: Message): string {
  return `${what} ${from} > ${to}`;
}

function keyOf({ what, boundary, micro }: Message): string {
  return `${what} ${boundary} ${micro}`;
}

/** In step with the tasks: B includes the recomputation that no R did and the weight gradients that no W does. */
function taskSeconds(
  schedule: Schedule,
  stage: number,
  tasks: readonly Task[],
  seconds: readonly VirtualStageSeconds[],
): number[] {
  const present = new Set(tasks.map(taskLabel));
  const has = (kind: Task['kind'], task: Task) => present.has(taskLabel({ ...task, kind }));
  return tasks.map((task) => {
    const costs = seconds[virtualStageOf(schedule, stage, task.chunk)];
    if (costs === undefined) {
      throw new MerakError('plan/invalid', 'the simulation lacks the costs of a stage', {
        expected: `${numVirtualStages(schedule)} virtual stages`,
        received: String(seconds.length),
      });
    }
    if (task.kind === 'F') return costs.forward;
    if (task.kind === 'R') return costs.recompute;
    if (task.kind === 'W') return costs.weightGradient;
    return costs.inputGradient + (has('R', task) ? 0 : costs.recompute) + (has('W', task) ? 0 : costs.weightGradient);
  });
}
