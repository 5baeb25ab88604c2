/** How much of the machine other processes take while something is measured. */
import { cpus } from 'node:os';

/**
 * Starts to watch; the result, whenever called, is how many cores other processes have kept busy since, on average. Clocks tick
 * every 10 ms or so: ask about tenths of seconds and more.
 */
export function watchOthers(): () => number {
  const [busy, own, start] = [busySeconds(), process.cpuUsage(), performance.now()];
  return () => {
    const { user, system } = process.cpuUsage(own);
    const seconds = (performance.now() - start) / 1e3;
    return Math.max(0, (busySeconds() - busy - (user + system) / 1e6) / seconds);
  };
}

function busySeconds(): number {
  return cpus().reduce((sum, { times: { user, nice, sys, irq } }) => sum + (user + nice + sys + irq) / 1e3, 0);
}
