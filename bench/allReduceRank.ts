/** One of two processes that all-reduce through shared memory; started by limits.ts. */
import type { Group, RankPlan } from '../src/plan/plan.js';
import type { ArenaHandle } from '../src/runtime/device.js';
import { shmCommunicator } from '../src/runtime/shmCommunicator.js';

export interface AllReduceTask {
  readonly count: number;
  readonly times: number;
  readonly repeat: number;
}

export type Order =
  | { readonly kind: 'connect'; readonly handles: readonly ArenaHandle[] }
  | { readonly kind: 'time'; readonly task: AllReduceTask };

const rank = Number(process.argv[2]);
const group: Group = { id: 0, axis: 'world', ranks: [0, 1] };
const plan: RankPlan = {
  rank,
  groups: [group],
  mesh: { pp: 1, dp: 2, tp: 1 },
  coordinates: { pp: 0, dp: rank, tp: 0 },
  parameters: [],
  persistentSpaces: [],
  persistentBytes: 0,
  gradientBuckets: [],
  stateBuckets: [],
  optimizer: { kind: 'sgd' },
  clipNorm: 0,
  executables: [],
};

const communicator = shmCommunicator(rank);
process.send?.(await communicator.open(plan));
process.on('message', async (order: Order) => {
  if (order.kind === 'connect') {
    await communicator.connect(order.handles);
    process.send?.('connected');
  } else {
    const { count, times, repeat } = order.task;
    process.send?.(await communicator.timeAllReduce(group, count, times, repeat));
  }
});
process.on('disconnect', () => process.exit(0));
