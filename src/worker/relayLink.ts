/** Messages between two workers through the coordinator: ordered channels with a limit on every wait. */
import type { Relay } from '../coordinator/messages.js';
import type { MerakError } from '../errors.js';
import { abortedError, timeoutError } from '../runtime/communicator.js';

interface Waiter {
  readonly take: (data: Uint8Array<ArrayBuffer>) => void;
  readonly reject: (error: MerakError) => void;
}

interface Channel {
  readonly arrived: Uint8Array<ArrayBuffer>[];
  readonly waiters: Waiter[];
}

export interface RelayLink {
  /** `data` may change after the call. Messages of one channel to one peer arrive in order. */
  send(peer: number, channel: string, data: Uint8Array): void;
  /**
   * The next message of `channel` from `peer`, alone in its ArrayBuffer. Rejects with 'comm/timeout' after `timeoutSeconds`, with 'comm/aborted'
   * once aborted; the message says in which `operation`.
   */
  receive(peer: number, channel: string, timeoutSeconds: number, operation: string): Promise<Uint8Array<ArrayBuffer>>;
  /** Takes a message from the coordinator. */
  deliver(relay: Relay): void;
  abort(reason: string): void;
}

/** @param post hands a message to the coordinator, which it leaves encoded. */
export function relayLink(rank: number, post: (relay: Relay) => void): RelayLink {
  const channels = new Map<string, Channel>();
  let aborted: MerakError | undefined;
  /** A collective's channel is used once: an empty one is forgotten. */
  const forgetIfEmpty = (peer: number, name: string, channel: Channel): void => {
    if (channel.arrived.length === 0 && channel.waiters.length === 0) channels.delete(`${peer}/${name}`);
  };
  const channelOf = (peer: number, name: string): Channel => {
    const key = `${peer}/${name}`;
    const channel = channels.get(key) ?? { arrived: [], waiters: [] };
    channels.set(key, channel);
    return channel;
  };
  return {
    send: (peer, channel, data) => {
      if (aborted !== undefined) throw aborted;
      post({ peer, channel, data });
    },
    async receive(peer, name, timeoutSeconds, operation) {
      if (aborted !== undefined) throw aborted;
      const channel = channelOf(peer, name);
      const first = channel.arrived.shift();
      if (first !== undefined) {
        forgetIfEmpty(peer, name, channel);
        return first;
      }
      return new Promise<Uint8Array<ArrayBuffer>>((resolve, reject) => {
        const timer = setTimeout(() => {
          channel.waiters.splice(channel.waiters.indexOf(waiter), 1);
          reject(timeoutError(rank, [peer], operation, timeoutSeconds));
        }, timeoutSeconds * 1000);
        const waiter: Waiter = {
          take: (arrived) => {
            clearTimeout(timer);
            resolve(arrived);
          },
          reject: (error) => {
            clearTimeout(timer);
            reject(error);
          },
        };
        channel.waiters.push(waiter);
      });
    },
    deliver({ peer, channel: name, data: received }) {
      // A buffer of its own: a Buffer of gRPC's is a window on a shared one, at any alignment, and so is its slice().
      const data = Uint8Array.from(received);
      const channel = channelOf(peer, name);
      const waiter = channel.waiters.shift();
      if (waiter === undefined) channel.arrived.push(data);
      else waiter.take(data);
      forgetIfEmpty(peer, name, channel);
    },
    abort(reason) {
      aborted ??= abortedError(rank, reason);
      for (const { waiters } of channels.values()) for (const { reject } of waiters.splice(0)) reject(aborted);
    },
  };
}
