/** A group of worker processes that live and die together: joining, heartbeats, deadlines, the first failure, the end. */
import { MerakError } from '../errors.js';
import { endProcess, hasEnded, trackProcess } from './ending.js';
import { addLiveGroup, type LiveGroup, removeLiveGroup } from './live.js';
import * as losses from './losses.js';
import type { Member } from './member.js';
import type { FromWorker, Welcome } from './messages.js';
import type { ControlServer, ServerEvents, WorkerStream } from './server.js';
import { heardAt, tick } from './silence.js';
import { errorOf } from './wireError.js';

const TICK_SECONDS = 0.5;
/** Time for a failure message that is on its way to overtake the news of the process's death. */
const LAST_MESSAGE_SECONDS = 0.2;
/** How long a rank's complaint about another waits for that other's own failure. */
const CAUSE_SECONDS = 1.5;
const ABORT_GRACE_SECONDS = 0.5;
const CLOSE_GRACE_SECONDS = 10;
const PROGRESS_SECONDS = 5;

export interface GroupOptions {
  readonly heartbeatTimeoutSeconds: number;
  readonly startTimeoutSeconds: number;
  readonly welcome: Omit<Welcome, 'rank'>;
  readonly log: (line: string) => void;
}

const nowSeconds = (): number => performance.now() / 1000;

export class WorkerGroup implements ServerEvents, LiveGroup {
  members: readonly Member[] = [];
  /** Rejects with the first error once the whole group has ended. */
  readonly failure: Promise<never>;
  private readonly rejectFailure: (error: MerakError) => void;
  private server: ControlServer | undefined;
  private error: MerakError | undefined;
  private end: Promise<void> | undefined;
  private suspected = false;
  private monitor: NodeJS.Timeout | undefined;
  private onReady: (() => void) | undefined;
  private starting = heardAt(nowSeconds());
  private nextProgressSeconds = PROGRESS_SECONDS;

  constructor(private readonly options: GroupOptions) {
    let reject: (error: MerakError) => void = () => {};
    this.failure = new Promise<never>((_, rejectPromise) => {
      reject = rejectPromise;
    });
    this.failure.catch(() => {}); // It also reaches whoever waits for a command; nobody has to watch both.
    this.rejectFailure = reject;
  }

  /** Adopts the processes and resolves when all are ready. Rejects when one cannot start. */
  async gather(server: ControlServer, members: readonly Member[]): Promise<void> {
    this.server = server;
    this.members = members;
    for (const member of members) this.watchProcess(member);
    addLiveGroup(this);
    this.starting = heardAt(nowSeconds());
    this.monitor = setInterval(() => this.check(), TICK_SECONDS * 1000);
    this.monitor.unref();
    const ready = new Promise<void>((resolve) => {
      this.onReady = resolve;
    });
    await Promise.race([ready, this.failure]);
    this.onReady = undefined;
  }

  /** Raises the error the group died of, or that it is closed. */
  assertAlive(): void {
    if (this.error !== undefined) throw this.error;
    if (this.end !== undefined) throw new MerakError('coordinator/protocol', 'the worker group is closed');
  }

  get isAlive(): boolean {
    return this.end === undefined;
  }

  get numWorkers(): number {
    return this.members.length;
  }

  get isIdle(): boolean {
    return this.onReady === undefined && this.members.every(({ occupation }) => occupation === undefined);
  }

  joined(slot: number, stream: WorkerStream): void {
    const member = this.members[slot];
    if (member === undefined || !this.isAlive) {
      stream.end();
      return;
    }
    member.attach(stream);
    member.post({ kind: 'welcome', welcome: { ...this.options.welcome, rank: member.rank } });
  }

  message(slot: number, message: FromWorker): void {
    const member = this.members[slot]!;
    switch (message.kind) {
      case 'hello':
        member.hello = message.hello;
        return;
      case 'ready':
        member.state = 'ready';
        this.noteReady();
        return;
      case 'reply': {
        const wrong = member.answer(message.reply);
        if (wrong !== undefined) this.fail(losses.protocolBroken(member, wrong));
        return;
      }
      case 'failure':
        this.fail(losses.reported(member, errorOf(message.failure)));
        return;
      case 'log':
        member.lastLog = message.log.text;
        this.options.log(`rank ${member.rank} ${message.log.level}: ${message.log.text}`);
        return;
      case 'relay': {
        const { peer, channel, data } = message.relay;
        this.members[peer]?.post({ kind: 'relay', relay: { peer: member.rank, channel, data } });
        return;
      }
      default:
        this.fail(losses.protocolBroken(member, 'it sent an empty message'));
    }
  }

  left(slot: number): void {
    const member = this.members[slot]!;
    setTimeout(() => {
      if (!hasEnded(member.process) && member.state !== 'closing') this.fail(losses.streamLost(member));
    }, 1000).unref();
  }

  beat(slot: number): void {
    this.members[slot]?.beat(nowSeconds());
    this.noteReady();
  }

  /** Ends the group because of `error`. The first one stays; a consequence gives way to its cause. */
  fail(error: MerakError): void {
    if (!this.isAlive) return;
    if (!losses.isConsequence(error)) this.settle(error);
    else if (!this.suspected) setTimeout(() => this.settle(error), CAUSE_SECONDS * 1000);
    this.suspected = true;
  }

  /** Lets every worker finish what it was asked, then ends it. Idempotent; resolves when no process is left. */
  close(): Promise<void> {
    this.end ??= this.shutDown();
    return this.end;
  }

  private settle(error: MerakError): void {
    if (!this.isAlive) return;
    this.error = error;
    this.end = this.abort(error);
  }

  private async abort(error: MerakError): Promise<void> {
    clearInterval(this.monitor);
    for (const member of this.members) member.post({ kind: 'abort', abort: { reason: error.summary } });
    await Promise.all(this.members.map(({ process }) => endProcess(process, ABORT_GRACE_SECONDS)));
    this.server?.close();
    for (const member of this.members) {
      member.state = 'ended';
      member.rejectAll(error);
    }
    removeLiveGroup(this);
    this.rejectFailure(error);
  }

  private async shutDown(): Promise<void> {
    clearInterval(this.monitor);
    await Promise.all(
      this.members.map(async (member) => {
        const answered = member.ask('shutdown', CLOSE_GRACE_SECONDS, { kind: 'shutdown', shutdown: {} });
        answered.catch(() => {});
        member.state = 'closing';
        await endProcess(member.process, CLOSE_GRACE_SECONDS);
        member.state = 'ended';
      }),
    );
    this.server?.close();
    const closed = new MerakError('coordinator/protocol', 'the worker group was closed before it answered');
    for (const member of this.members) member.rejectAll(closed);
    removeLiveGroup(this);
  }

  private noteReady(): void {
    if (this.onReady !== undefined && this.members.every(({ isReady }) => isReady)) this.onReady();
  }

  private watchProcess(member: Member): void {
    trackProcess(member.process);
    member.process.stdin?.on('error', () => {}); // A broken pipe; the exit event tells why.
    member.process.unref();
    member.process.once('error', (cause) => this.fail(losses.spawnFailed(member, cause)));
    member.process.once('exit', (code, signal) => {
      setTimeout(() => {
        if (member.state !== 'closing') this.fail(losses.processLost(member, { code, signal }));
      }, LAST_MESSAGE_SECONDS * 1000);
    });
  }

  private check(): void {
    const now = nowSeconds();
    for (const member of this.members) member.tick(now, TICK_SECONDS);
    const silent = this.members.find(({ silentSeconds }) => silentSeconds > this.options.heartbeatTimeoutSeconds);
    if (silent !== undefined) this.fail(losses.stalled(silent, silent.silentSeconds));
    const late = this.members.filter(({ overdue }) => overdue !== undefined);
    const first = late[0]?.overdue;
    if (first !== undefined) this.fail(losses.overdue(late, first.what, first.limitSeconds));
    if (this.onReady !== undefined) this.checkStart(now);
  }

  private checkStart(now: number): void {
    this.starting = tick(this.starting, now, TICK_SECONDS);
    const { seconds } = this.starting;
    const missing = this.members.filter(({ isReady }) => !isReady);
    const { startTimeoutSeconds } = this.options;
    if (seconds > startTimeoutSeconds) this.fail(losses.startOverdue(missing, startTimeoutSeconds));
    if (!this.isAlive || seconds < this.nextProgressSeconds) return;
    this.nextProgressSeconds += PROGRESS_SECONDS;
    this.options.log(`waiting for ${losses.named(missing)} (${seconds.toFixed(0)} s of ${startTimeoutSeconds} s)`);
  }
}
