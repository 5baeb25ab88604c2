/** Collectives between workers whose devices live in JavaScript, over messages relayed by the coordinator. */
import type { Relay } from '../coordinator/messages.js';
import type { Group } from '../plan/plan.js';
import { describeCollective, type HostCommunicator, reduceInOrder } from '../runtime/communicator.js';
import { relayLink } from './relayLink.js';

const DEFAULT_TIMEOUT_SECONDS = 100;

export interface RelayCommunicator extends HostCommunicator {
  /** Takes a message from the coordinator. */
  deliver(relay: Relay): void;
}

/** @param post hands a message to the coordinator, which passes it on to `peer`. */
export function relayCommunicator(rank: number, post: (relay: Relay) => void): RelayCommunicator {
  const link = relayLink(rank, post);
  const sequences = new Map<string, number>();
  let timeoutSeconds = DEFAULT_TIMEOUT_SECONDS;
  let waitSeconds = 0;

  const next = (key: string): number => {
    const sequence = (sequences.get(key) ?? 0) + 1;
    sequences.set(key, sequence);
    return sequence;
  };

  const receive = async (peer: number, channel: string, operation: string): Promise<Uint8Array<ArrayBuffer>> => {
    const start = performance.now();
    try {
      return await link.receive(peer, channel, timeoutSeconds, operation);
    } finally {
      waitSeconds += (performance.now() - start) / 1000;
    }
  };

  /** A channel and a title of its own for each collective, so that ranks at odds do not take each other's data. */
  const collective = (operation: string, group: Group): { channel: string; title: string } => {
    const title = describeCollective(operation, next(`group ${group.id}`), group);
    return { channel: title, title };
  };

  return {
    rank,
    open: async () => [],
    connect: async () => {},

    // Through the first rank: 2 (n - 1) messages, where everyone to everyone would be n (n - 1).
    async allReduce(group, data, op) {
      const { channel, title } = collective(`all-reduce ${op} of ${data.length}`, group);
      const [root, ...others] = group.ranks;
      if (root === undefined || others.length === 0) return Float32Array.from(data);
      if (rank !== root) {
        link.send(root, channel, bytesOf(data));
        return floatsOf(await receive(root, channel, title));
      }
      const parts = [data];
      for (const peer of others) parts.push(floatsOf(await receive(peer, channel, title)));
      const result = reduceInOrder(parts, op);
      for (const peer of others) link.send(peer, channel, bytesOf(result));
      return result;
    },

    async allGather(group, data) {
      const { channel, title } = collective(`all-gather of ${data.length} bytes`, group);
      for (const peer of group.ranks) if (peer !== rank) link.send(peer, channel, data);
      const parts: Uint8Array[] = [];
      for (const peer of group.ranks) {
        parts.push(peer === rank ? Uint8Array.from(data) : await receive(peer, channel, title));
      }
      return parts;
    },

    async send(peer, tag, data) {
      link.send(peer, `message ${tag}`, data);
    },

    receive(peer, tag) {
      const sequence = next(`from ${peer} ${tag}`);
      return receive(peer, `message ${tag}`, `message #${sequence} '${tag}' to rank ${rank}`);
    },

    setTimeoutSeconds(seconds) {
      timeoutSeconds = seconds;
    },
    abort: (reason) => link.abort(reason),
    takeWaitSeconds() {
      const seconds = waitSeconds;
      waitSeconds = 0;
      return seconds;
    },
    close: () => link.abort('the device was closed'),
    deliver: (relay) => link.deliver(relay),
  };
}

function bytesOf(data: Float32Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function floatsOf(received: Uint8Array<ArrayBuffer>): Float32Array {
  return new Float32Array(received.buffer);
}
