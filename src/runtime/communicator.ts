/** How ranks reach each other from JavaScript: the collectives and messages of the tfjs runtime, whatever carries them. */
import { MerakError } from '../errors.js';
import type { Group, RankPlan } from '../plan/plan.js';
import type { ArenaHandle } from './device.js';

export type ReduceOp = 'sum' | 'max';

/**
 * One rank's end. Calls on one group are made in the same order by all its ranks; each carries the next sequence
 * number of its group or channel. Every promise rejects with comm/timeout (naming the absent rank, the operation and
 * its sequence number), comm/aborted, or comm/peer-lost.
 */
export interface HostCommunicator {
  readonly rank: number;
  /** Gets ready for the groups of `plan`. Returns handles that peers need to `connect`, if any. */
  open(plan: RankPlan): Promise<ArenaHandle[]>;
  connect(handles: readonly ArenaHandle[]): Promise<void>;
  /** Element-wise over the group, reduced in the order of `group.ranks`, the same bits on every rank. Returns a new array. */
  allReduce(group: Group, data: Float32Array, op: ReduceOp): Promise<Float32Array>;
  /** Every rank's bytes, in the order of `group.ranks`. */
  allGather(group: Group, data: Uint8Array): Promise<Uint8Array[]>;
  /** Posts bytes on channel (this rank -> peer, tag). `data` may be reused once the promise resolves; the receiver need not be there. */
  send(peer: number, tag: number, data: Uint8Array): Promise<void>;
  /** The oldest bytes not yet received on channel (peer -> this rank, tag). */
  receive(peer: number, tag: number): Promise<Uint8Array>;
  /** Longest wait of every call from now on. */
  setTimeoutSeconds(seconds: number): void;
  /** Makes waits in flight and all later ones reject with comm/aborted. */
  abort(reason: string): void;
  /** Seconds spent waiting for peers since the last call. */
  takeWaitSeconds(): number;
  close(): void;
}

/** comm/timeout naming who is missing, in what, and how long was waited. */
export function timeoutError(rank: number, absent: readonly number[], operation: string, seconds: number): MerakError {
  const who = absent.length === 1 ? `rank ${absent[0]} is` : `ranks ${absent.join(', ')} are`;
  return new MerakError('comm/timeout', `${who} absent from ${operation}`, {
    path: `rank ${rank}`,
    expected: `an answer within ${seconds} s`,
    hint: 'see the log of the absent rank; raise the time limit if it was only slow',
  });
}

export function abortedError(rank: number, reason: string): MerakError {
  return new MerakError('comm/aborted', reason, { path: `rank ${rank}` });
}

/** "all-reduce #3 of group 2 (tp)". */
export function describeCollective(operation: string, sequence: number, group: Group): string {
  return `${operation} #${sequence} of group ${group.id} (${group.axis})`;
}

/** Reduces in order: the first rank's element, then the second's, ... in float32. */
export function reduceInOrder(parts: readonly Float32Array[], op: ReduceOp): Float32Array {
  const [first, ...others] = parts;
  const result = Float32Array.from(first ?? []);
  for (const part of others) {
    for (let i = 0; i < result.length; i++) {
      const [a, b] = [result[i] ?? 0, part[i] ?? 0];
      result[i] = op === 'sum' ? a + b : Math.max(a, b);
    }
  }
  return result;
}
