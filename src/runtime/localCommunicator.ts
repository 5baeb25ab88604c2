/** Communicators between several devices in one process: for tests, `merak verify` and runs without workers. */
import { MerakError } from '../errors.js';
import type { Group } from '../plan/plan.js';
import {
  abortedError,
  describeCollective,
  type HostCommunicator,
  type ReduceOp,
  reduceInOrder,
  timeoutError,
} from './communicator.js';

/** One communicator per rank, all joined. */
export function localCommunicators(numRanks: number): HostCommunicator[] {
  const hub: Hub = { meetings: new Map(), channels: new Map() };
  return Array.from({ length: numRanks }, (_, rank) => localCommunicator(rank, hub));
}

interface Waiter<T> {
  resolve(value: T): void;
}

/** Ranks on their way to one collective. */
interface Meeting {
  readonly operation: string;
  readonly arrived: Map<number, Uint8Array>;
  readonly waiters: Waiter<Uint8Array[]>[];
}

interface Channel {
  readonly messages: Uint8Array[];
  readonly waiters: Waiter<Uint8Array>[];
}

interface Hub {
  readonly meetings: Map<string, Meeting>;
  readonly channels: Map<string, Channel>;
}

function localCommunicator(rank: number, hub: Hub): HostCommunicator {
  const sequences = new Map<string, number>();
  const rejections = new Set<(error: MerakError) => void>();
  let seconds = 60;
  let waited = 0;
  let aborted: string | undefined;

  const next = (key: string): number => {
    const sequence = (sequences.get(key) ?? 0) + 1;
    sequences.set(key, sequence);
    return sequence;
  };

  /** Waits for `register`'s resolve, within the time limit and until aborted. */
  async function wait<T>(register: (waiter: Waiter<T>) => void, absent: () => number[], operation: string): Promise<T> {
    const start = performance.now();
    let settle: (error: MerakError) => void = () => {};
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        settle = reject;
        rejections.add(reject);
        timer = setTimeout(() => reject(timeoutError(rank, absent(), operation, seconds)), seconds * 1000);
        register({ resolve });
      });
    } finally {
      clearTimeout(timer);
      rejections.delete(settle);
      waited += (performance.now() - start) / 1000;
    }
  }

  function checkAborted(): void {
    if (aborted !== undefined) throw abortedError(rank, aborted);
  }

  async function meet(group: Group, operation: string, data: Uint8Array): Promise<Uint8Array[]> {
    checkAborted();
    const sequence = next(`group ${group.id}`);
    const key = `${group.id}#${sequence}`;
    const title = describeCollective(operation, sequence, group);
    const meeting: Meeting = hub.meetings.get(key) ?? { operation, arrived: new Map(), waiters: [] };
    if (meeting.operation !== operation) {
      throw new MerakError('comm/peer-lost', `ranks disagree at ${title}`, {
        expected: meeting.operation,
        received: operation,
        path: `rank ${rank}`,
      });
    }
    hub.meetings.set(key, meeting);
    meeting.arrived.set(rank, Uint8Array.from(data));
    const missing = () => group.ranks.filter((peer) => !meeting.arrived.has(peer));
    if (missing().length > 0) return wait((waiter) => meeting.waiters.push(waiter), missing, title);
    hub.meetings.delete(key);
    const parts = group.ranks.map((peer) => meeting.arrived.get(peer) ?? new Uint8Array());
    for (const waiter of meeting.waiters) waiter.resolve(parts);
    return parts;
  }

  function channelOf(from: number, to: number, tag: number): Channel {
    const key = `${from}->${to} ${tag}`;
    const channel = hub.channels.get(key) ?? { messages: [], waiters: [] };
    hub.channels.set(key, channel);
    return channel;
  }

  return {
    rank,
    open: async () => [],
    connect: async () => {},
    async allReduce(group, data, op: ReduceOp) {
      const parts = await meet(group, `all-reduce ${op} of ${data.length}`, bytesOf(data));
      return reduceInOrder(parts.map(floatsOf), op);
    },
    allGather: (group, data) => meet(group, `all-gather of ${data.length} bytes`, data),
    async send(peer, tag, data) {
      checkAborted();
      const channel = channelOf(rank, peer, tag);
      const copy = Uint8Array.from(data);
      const waiter = channel.waiters.shift();
      if (waiter === undefined) channel.messages.push(copy);
      else waiter.resolve(copy);
    },
    async receive(peer, tag) {
      checkAborted();
      const channel = channelOf(peer, rank, tag);
      const sequence = next(`from ${peer} ${tag}`);
      const message = channel.messages.shift();
      if (message !== undefined) return message;
      return wait(
        (waiter) => channel.waiters.push(waiter),
        () => [peer],
        `message #${sequence} (tag ${tag}) to rank ${rank}`,
      );
    },
    setTimeoutSeconds(limit) {
      seconds = limit;
    },
    abort(reason) {
      aborted ??= reason;
      for (const reject of [...rejections]) reject(abortedError(rank, aborted));
    },
    takeWaitSeconds() {
      const total = waited;
      waited = 0;
      return total;
    },
    close() {},
  };
}

function bytesOf(data: Float32Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.slice().buffer);
}
