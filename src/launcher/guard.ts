/** Ends the process with a code, and its workers with it, on an error nobody handles or a signal. */
import { isCommandDone } from '../config/launch.js';
import { killAndReapAllWorkers } from '../coordinator/ending.js';
import { complain } from './complain.js';

const SIGNAL_EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

export function guardProcess(): void {
  process.on('uncaughtException', giveUp);
  process.on('unhandledRejection', giveUp);
  for (const signal of Object.keys(SIGNAL_EXIT_CODES) as (keyof typeof SIGNAL_EXIT_CODES)[]) {
    process.on(signal, () => endBy(signal));
  }
}

let ending = false;

/** The first reason counts: what fails while the workers are ended is a consequence. */
async function end(code: number, reason: () => void): Promise<void> {
  if (ending) return;
  ending = true;
  reason();
  await killAndReapAllWorkers();
  process.exit(code);
}

export function giveUp(thrown: unknown): Promise<void> {
  if (isCommandDone(thrown)) return end(thrown.exitCode, () => {});
  return end(1, () => complain(thrown));
}

let signalled = false;

/** A script with a handler of its own (to save a checkpoint, say) decides for itself, until the second signal. */
function endBy(signal: keyof typeof SIGNAL_EXIT_CODES): void {
  const first = !signalled;
  signalled = true;
  if (first && process.listenerCount(signal) > 1) return;
  void end(SIGNAL_EXIT_CODES[signal], () => process.stderr.write(`\nmerak: stopped by ${signal}\n`));
}
