/** One worker as the coordinator sees it: its process, its stream, and the commands it has not answered yet. */
import type { ChildProcess } from 'node:child_process';
import { hostname } from 'node:os';
import type { MerakError } from '../errors.js';
import type { CommandBody, Hello, Reply, ToWorkerBody } from './messages.js';
import type { WorkerStream } from './server.js';
import { heardAt, type Silence, tick } from './silence.js';

/** In the order of a worker's life. */
export type MemberState = 'starting' | 'joined' | 'ready' | 'closing' | 'ended';

interface Pending {
  readonly what: string;
  readonly limitSeconds: number;
  /** Takes replies until it returns true: the command is answered. */
  readonly take: (reply: Reply) => boolean;
  readonly reject: (error: MerakError) => void;
}

export interface Overdue {
  readonly what: string;
  readonly limitSeconds: number;
}

export class Member {
  state: MemberState = 'starting';
  hello: Hello | undefined;
  /** Last line it sent as a Log message. */
  lastLog: string | undefined;
  private stream: WorkerStream | undefined;
  private readonly pending = new Map<number, Pending>();
  private nextCommand = 1;
  /** Since its first heartbeat: how long it has been silent. */
  private pulse: Silence | undefined;
  /** How long its oldest command has waited. */
  private wait: Silence | undefined;

  constructor(
    readonly rank: number,
    readonly process: ChildProcess,
    readonly logFile: string,
  ) {}

  /** It made its device, and its heart beats: from now on silence means something. */
  get isReady(): boolean {
    return this.state === 'ready' && this.pulse !== undefined;
  }

  get pid(): number {
    return this.process.pid ?? -1;
  }

  get host(): string {
    return this.hello?.host ?? hostname();
  }

  attach(stream: WorkerStream): void {
    this.stream = stream;
    this.state = 'joined';
  }

  post(message: ToWorkerBody): void {
    this.stream?.send(message);
  }

  /** Sends a command; resolves with its one reply. */
  async ask(what: string, limitSeconds: number, body: CommandBody): Promise<Reply> {
    return this.askMany(what, limitSeconds, [body], (reply) => reply);
  }

  /**
   * Sends commands that are answered together: resolves with the first value that `take` returns for a reply. Bodies
   * share one id.
   */
  askMany<T>(
    what: string,
    limitSeconds: number,
    bodies: Iterable<CommandBody>,
    take: (reply: Reply) => T | undefined,
  ): Promise<T> {
    const id = this.nextCommand++;
    return new Promise<T>((resolve, reject) => {
      this.pending.set(id, {
        what,
        limitSeconds,
        reject,
        take: (reply) => {
          try {
            const value = take(reply);
            if (value !== undefined) resolve(value);
            return value !== undefined;
          } catch (error) {
            reject(error);
            return true;
          }
        },
      });
      for (const body of bodies) this.post({ kind: 'command', command: { id, ...body } });
    });
  }

  /** What is wrong with a reply nobody waits for; undefined when all is well. */
  answer(reply: Reply): string | undefined {
    const pending = this.pending.get(reply.id);
    if (pending === undefined) return `it answered command ${reply.id}, which is not open`;
    this.wait = undefined;
    if (pending.take(reply)) this.pending.delete(reply.id);
    return undefined;
  }

  /** The command it is working on. */
  get occupation(): string | undefined {
    return this.pending.values().next().value?.what;
  }

  beat(now: number): void {
    this.pulse = heardAt(now);
  }

  /** Advances its clocks; call every `intervalSeconds`. */
  tick(now: number, intervalSeconds: number): void {
    if (this.pulse !== undefined) this.pulse = tick(this.pulse, now, intervalSeconds);
    if (this.pending.size === 0) this.wait = undefined;
    else this.wait = this.wait === undefined ? heardAt(now) : tick(this.wait, now, intervalSeconds);
  }

  get silentSeconds(): number {
    return this.pulse?.seconds ?? 0;
  }

  get overdue(): Overdue | undefined {
    const head = this.pending.values().next().value;
    if (head === undefined || this.wait === undefined || this.wait.seconds <= head.limitSeconds) return undefined;
    return { what: head.what, limitSeconds: head.limitSeconds };
  }

  rejectAll(error: MerakError): void {
    for (const { reject } of this.pending.values()) reject(error);
    this.pending.clear();
  }
}
