/** Runs the user's script inside this process, so that the process that wraps the model is the coordinator. */
import { statSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isCommandDone, type LaunchContext, setLaunchContext } from '../config/launch.js';
import { killAndReapAllWorkers } from '../coordinator/ending.js';
import { MerakError } from '../errors.js';
import { complain } from './complain.js';
import { closeWhenScriptIsOver } from './settle.js';

const TYPESCRIPT = new Set(['.ts', '.mts', '.cts', '.tsx']);
const SIGNAL_EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Resolves when the script is over and its workers are closed. An exception, a rejection nobody handles or a signal
 * ends the process with a non-zero code; src/coordinator/ending.ts sees to it that no worker stays.
 */
export async function runScript(script: string, args: readonly string[], context: LaunchContext): Promise<void> {
  const path = resolve(script);
  if (!isFile(path)) {
    throw new MerakError('coordinator/script', `there is no script ${script}`, { path, expected: 'a .ts or .js file' });
  }
  setLaunchContext(context);
  process.argv = [process.argv[0]!, path, ...args];
  process.on('uncaughtException', giveUp);
  process.on('unhandledRejection', giveUp);
  for (const signal of Object.keys(SIGNAL_EXIT_CODES) as (keyof typeof SIGNAL_EXIT_CODES)[]) {
    process.on(signal, () => endBy(signal));
  }
  if (TYPESCRIPT.has(extname(path))) {
    const { register } = await import('tsx/esm/api');
    register();
  }
  try {
    await import(pathToFileURL(path).href);
    await closeWhenScriptIsOver();
  } catch (thrown) {
    await giveUp(thrown);
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
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

function giveUp(thrown: unknown): Promise<void> {
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
