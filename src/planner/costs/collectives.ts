/** Seconds of collectives, and as transfers of the simulator. */
import type { Link, Transfer } from '../../pipeline/network.js';

/**
 * A ring all-reduce among n ranks: 2 (n - 1) rounds, in each of which every rank sends bytes / n to the next
 * (Patarasu and Yuan, 2009).
 */
export function allReduceSeconds(bytes: number, numRanks: number, link: Link): number {
  if (numRanks <= 1) return 0;
  const rounds = 2 * (numRanks - 1);
  return rounds * (link.latencySeconds + bytes / numRanks / link.bytesPerSecond);
}

/** A ring all-gather into `bytes`, or a reduce-scatter of them: half of the all-reduce. */
export function allGatherSeconds(bytes: number, numRanks: number, link: Link): number {
  return allReduceSeconds(bytes, numRanks, link) / 2;
}

/**
 * A ring all-reduce as a transfer over the links it crosses: each carries 2 (n - 1) / n of the bytes. `copies`: rings of
 * the same shape over the same links at the same time (other tensor ranks of the nodes, for a shared network card).
 */
export function ringTransfer(
  bytes: number,
  numRanks: number,
  links: readonly Link[],
  route: readonly number[],
  copies = 1,
): Transfer {
  if (numRanks <= 1) return { bytes: 0, route: [] };
  const slowest = Math.max(0, ...route.map((link) => links[link]?.latencySeconds ?? 0));
  const sum = route.reduce((total, link) => total + (links[link]?.latencySeconds ?? 0), 0);
  const rounds = 2 * (numRanks - 1);
  // The simulator adds each link's latency once; rounds follow each other at the slowest hop's.
  return { bytes: (rounds * bytes) / numRanks, route, copies, latencySeconds: Math.max(0, rounds * slowest - sum) };
}
