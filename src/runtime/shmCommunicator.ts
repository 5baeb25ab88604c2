/** Collectives between the processes of one host through shared memory, for devices that live in JavaScript. */
import { MerakError } from '../errors.js';
import type { Group, RankPlan } from '../plan/plan.js';
import type { HostCommunicator } from './communicator.js';
import type { ArenaHandle } from './device.js';
import { loadAddon, type NativeHostCommunicator } from './native/addon.js';
import { toMerakError, translated } from './native/error.js';

export interface ShmCommunicatorOptions {
  /** Bytes under way to one peer before a send waits; the default holds hundreds of MiB. */
  readonly ringBytes?: number;
}

export interface ShmCommunicator extends HostCommunicator {
  /** The bytes of the rank at `rootIndex` of `group.ranks`; the others' `data` says only how many there are. */
  broadcast(group: Group, data: Uint8Array, rootIndex: number): Promise<Uint8Array>;
  /** Seconds per all-reduce of `count` floats in place, nothing copied: the fastest of `repeat` rounds of `times`. */
  timeAllReduce(group: Group, count: number, times: number, repeat: number): Promise<number>;
}

/**
 * Rank `rank`'s end. Data is copied through a memfd that the peers map; waits happen on threads of their own, in the order
 * of the calls (sends apart from all else), so that the event loop stays free.
 *
 * Raises engine/unsupported when the addon cannot be loaded, engine/not-loaded before `open` and after `close`;
 * comm/mismatch when ranks disagree about a collective.
 *
 * @example
 * const communicator = shmCommunicator(plan.rank);
 * const handles = await communicator.open(plan); // to be gathered from all ranks
 * await communicator.connect(allHandles);
 * const sums = await communicator.allReduce(plan.groups[0], Float32Array.of(1), 'sum');
 */
export function shmCommunicator(rank: number, options: ShmCommunicatorOptions = {}): ShmCommunicator {
  const addon = loadAddon();
  let native: NativeHostCommunicator | undefined;
  let timeoutSeconds: number | undefined;
  let abortReason: string | undefined;

  const opened = (): NativeHostCommunicator => {
    if (native !== undefined) return native;
    throw new MerakError('engine/not-loaded', 'the communicator is not open', { path: `rank ${rank}` });
  };

  return {
    rank,
    async open({ mesh, groups }: RankPlan): Promise<ArenaHandle[]> {
      native?.close();
      return translated(() => {
        const worldSize = mesh.pp * mesh.dp * mesh.tp;
        const opening = new addon.HostCommunicator({ rank, worldSize, groups, ...options });
        if (timeoutSeconds !== undefined) opening.setTimeout(timeoutSeconds);
        if (abortReason !== undefined) opening.abort(abortReason);
        native = opening;
        return opening.handles().map((handle) => ({ rank, ...handle }));
      });
    },
    connect: (handles) => translated(() => opened().connect(handles.filter((handle) => handle.rank !== rank))),
    allReduce: (group, data, op) => translated(() => opened().allReduce(group.id, data, op)),
    allGather: (group, data) => translated(() => opened().allGather(group.id, data)),
    broadcast: (group, data, rootIndex) => translated(() => opened().broadcast(group.id, data, rootIndex)),
    timeAllReduce: (group, count, times, repeat) =>
      translated(() => opened().timeAllReduce(group.id, count, times, repeat)),
    send: (peer, tag, data) => translated(() => opened().send(peer, tag, data)),
    receive: (peer, tag) => translated(() => opened().receive(peer, tag)),
    setTimeoutSeconds(seconds) {
      timeoutSeconds = seconds;
      native?.setTimeout(seconds);
    },
    abort(reason) {
      abortReason ??= reason;
      native?.abort(reason);
    },
    takeWaitSeconds() {
      try {
        return native?.takeWaitSeconds() ?? 0;
      } catch (error) {
        throw toMerakError(error);
      }
    },
    close() {
      native?.close();
      native = undefined;
    },
  };
}
