/** Starts one local worker process whose life hangs on this one. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { packageFile, runsSources } from '../packageFiles.js';
import { environmentOf, type Invitation } from './environment.js';

const WORKER_MAIN = runsSources ? packageFile('src/worker/main.ts') : packageFile('dist/worker/main.js');

/** stdout and stderr go to `logFile`; stdin is a pipe whose end tells the worker that its parent is gone. */
export function spawnWorker(invitation: Invitation, threadsPerWorker: number, logFile: string): ChildProcess {
  const log = openSync(logFile, 'a');
  const [command, ...args] = [...parentDeathCommand(), process.execPath, ...loaderArguments(), WORKER_MAIN];
  const threads = String(threadsPerWorker);
  try {
    return spawn(command!, args, {
      stdio: ['pipe', log, log],
      env: { ...process.env, OMP_NUM_THREADS: threads, ...environmentOf(invitation) },
    });
  } finally {
    closeSync(log);
  }
}

/** TypeScript sources are run through tsx, found from here and not from the user's working directory. */
function loaderArguments(): string[] {
  if (!runsSources) return [];
  return ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href];
}

let setprivWorks: boolean | undefined;

/**
 * util-linux's setpriv makes the kernel kill the worker when its parent dies, even while the worker is stopped or its
 * threads are all busy. Where it is missing the worker's own watchdog remains.
 */
function parentDeathCommand(): string[] {
  const command = ['setpriv', '--pdeathsig', 'KILL', '--'];
  setprivWorks ??= process.platform === 'linux' && spawnSync(command[0]!, [...command.slice(1), 'true']).status === 0;
  return setprivWorks ? command : [];
}
