/** Transfers over shared links: each link divides its bandwidth evenly among the transfers that cross it. */
import type { EventQueue } from './eventQueue.js';

export interface Link {
  readonly name: string;
  readonly latencySeconds: number;
  readonly bytesPerSecond: number;
}

export interface Transfer {
  readonly bytes: number;
  /** Indices of the links it crosses, all at once; empty: it takes no time. */
  readonly route: readonly number[];
  /** Like transfers that run beside it (those of other replicas) and take their share of every link. Default 1. */
  readonly copies?: number;
  /** Seconds added to the links' latencies. */
  readonly latencySeconds?: number;
}

interface Active {
  readonly transfer: Transfer;
  readonly copies: number;
  readonly complete: (time: number) => void;
  remaining: number;
  /** Bytes per second since `since`. */
  rate: number;
  since: number;
  /** Grows whenever the rate changes: an older completion event is void. */
  version: number;
}

/**
 * Store and forward is not modelled: a transfer streams over its whole route at the rate of the link that gives it
 * least, and arrives the route's latency after its last byte. What a transfer throttled elsewhere leaves unused on a link
 * goes to nobody, so times are never too short.
 */
export class Network {
  private readonly onLink: Set<Active>[];

  constructor(
    private readonly links: readonly Link[],
    private readonly events: EventQueue<() => void>,
  ) {
    this.onLink = links.map(() => new Set());
  }

  start(now: number, transfer: Transfer, arrived: (time: number) => void): void {
    const latency = transfer.route.reduce(
      (sum, link) => sum + (this.links[link]?.latencySeconds ?? 0),
      transfer.latencySeconds ?? 0,
    );
    if (transfer.route.length === 0 || transfer.bytes <= 0) {
      this.events.add(now + latency, () => arrived(now + latency));
      return;
    }
    const active: Active = {
      transfer,
      copies: transfer.copies ?? 1,
      complete: (time) => {
        for (const link of transfer.route) this.onLink[link]?.delete(active);
        this.share(time, transfer.route);
        this.events.add(time + latency, () => arrived(time + latency));
      },
      remaining: transfer.bytes,
      rate: 0,
      since: now,
      version: 0,
    };
    for (const link of transfer.route) this.onLink[link]?.add(active);
    this.share(now, transfer.route);
  }

  /** Gives every transfer on these links its new rate. */
  private share(now: number, route: readonly number[]): void {
    const touched = new Set(route.flatMap((link) => [...(this.onLink[link] ?? [])]));
    for (const active of touched) {
      const rate = Math.min(...active.transfer.route.map((link) => this.portion(link)));
      if (rate === active.rate) continue;
      active.remaining -= active.rate * (now - active.since);
      active.since = now;
      active.rate = rate;
      const version = ++active.version;
      const end = now + Math.max(0, active.remaining) / rate;
      this.events.add(end, () => {
        if (active.version === version) active.complete(end);
      });
    }
  }

  private portion(link: number): number {
    let copies = 0;
    for (const active of this.onLink[link] ?? []) copies += active.copies;
    return (this.links[link]?.bytesPerSecond ?? Number.POSITIVE_INFINITY) / copies;
  }
}
