/** A link's latency and bandwidth from times at several sizes. */
import type { Link } from '../../pipeline/network.js';

/**
 * Seconds = latency + bytes / bandwidth through the smallest and the largest message. `share`: how many times the
 * bytes cross the link (a ring all-reduce among n: 2 (n - 1) / n), `rounds`: how many times the latency counts.
 */
export function fitLink(
  name: string,
  times: readonly { readonly bytes: number; readonly seconds: number }[],
  share = 1,
  rounds = 1,
): Link {
  const sorted = [...times].sort((a, b) => a.bytes - b.bytes);
  const [small, large] = [sorted[0], sorted.at(-1)];
  if (small === undefined || large === undefined || large.bytes === small.bytes) {
    const bytes = small?.bytes ?? 1;
    return { name, latencySeconds: 0, bytesPerSecond: (share * bytes) / (small?.seconds ?? 1) };
  }
  const perByte = Math.max((large.seconds - small.seconds) / (large.bytes - small.bytes), 1e-15);
  const latency = Math.max(0, small.seconds - small.bytes * perByte);
  return { name, latencySeconds: latency / rounds, bytesPerSecond: share / perByte };
}
