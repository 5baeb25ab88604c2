/** Ending worker processes: politely, then not, and at the latest when this process exits. */
import type { ChildProcess } from 'node:child_process';
import { processWide } from './processWide.js';

const REAP_SECONDS = 2;

const living = processWide('workerProcesses', () => new Set<ChildProcess>());
let exitHookSet = false;

/** Keeps the promise that no worker outlives this process's orderly end (its violent end is the worker's own affair). */
export function trackProcess(child: ChildProcess): void {
  if (!exitHookSet) {
    process.on('exit', killAllWorkers);
    exitHookSet = true;
  }
  living.add(child);
  child.once('exit', () => living.delete(child));
}

/** Synchronous; for exit handlers. */
export function killAllWorkers(): void {
  for (const child of living) child.kill('SIGKILL');
}

/** Kills all workers and waits until they are gone, so that no zombie is left to an init that does not reap. */
export async function killAndReapAllWorkers(): Promise<void> {
  const children = [...living];
  killAllWorkers();
  await Promise.all(children.map((child) => waitForEnd(child, REAP_SECONDS)));
}

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
}

/** Resolves to true once the process has ended, to false after `seconds`. */
export function waitForEnd(child: ChildProcess, seconds: number): Promise<boolean> {
  if (hasEnded(child)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const ended = (): void => {
      clearTimeout(timer);
      resolve(true);
    };
    const timer = setTimeout(() => {
      child.off('exit', ended);
      resolve(false);
    }, seconds * 1000);
    child.once('exit', ended);
  });
}

/** Waits `graceSeconds` for an end already asked for, then SIGTERM, then SIGKILL. */
export async function endProcess(child: ChildProcess, graceSeconds: number): Promise<void> {
  if (await waitForEnd(child, graceSeconds)) return;
  child.kill('SIGTERM');
  if (await waitForEnd(child, 1)) return;
  child.kill('SIGKILL');
  await waitForEnd(child, 10);
}
