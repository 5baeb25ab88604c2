/** How long somebody has been silent, measured so that the listener's own pauses do not count. */

export interface Silence {
  /** Seconds since the last sign of life, leaving out the time in which nobody was listening. */
  readonly seconds: number;
  readonly lastTick: number;
}

/** `now` in seconds of any steady clock. */
export function heardAt(now: number): Silence {
  return { seconds: 0, lastTick: now };
}

/**
 * One look at the clock. Ticks come every `intervalSeconds`; a longer gap means that the listener itself was held up
 * (a blocked event loop, a suspended laptop), so that what was said meanwhile still waits to be read: it counts as one
 * interval.
 */
export function tick(silence: Silence, now: number, intervalSeconds: number): Silence {
  const gap = now - silence.lastTick;
  return { seconds: silence.seconds + Math.min(Math.max(gap, 0), 2 * intervalSeconds), lastTick: now };
}
