/** Runs the user's script inside this process, so that the process that wraps the model is the coordinator. */
import { statSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type LaunchContext, setLaunchContext } from '../config/launch.js';
import { MerakError } from '../errors.js';
import { loadTfjs } from './commonjs.js';
import { giveUp, guardProcess } from './guard.js';
import { closeWhenScriptIsOver } from './settle.js';
import { registerTypescript } from './typescript.js';

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
  guardProcess();
  // Loaded for that alone: other commands start no workers.
  if (context.mode === 'launch') await (await import('../api/earlyWorkers.js')).startForFlags(context.flags);
  await registerTypescript(extname(path));
  await loadTfjs(path);
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
