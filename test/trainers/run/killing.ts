/** A run of `merak train` in a process of its own that is killed as soon as a part of it was saved. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const TIMEOUT_MS = 60_000;
const POLL_MS = 5;

/**
 * @param part the name given to `fit`, `iterate` or `stage`
 * @returns whether it died by the signal, with nothing but its state left behind
 */
export async function killedAfterSave(
  recipe: string,
  out: string,
  part: string,
  args: readonly string[],
): Promise<boolean> {
  const command = ['--import', 'tsx', 'test/launcher/cli.ts', 'train', recipe, '--out', out, ...args];
  const child = spawn(process.execPath, command, { cwd: ROOT, stdio: 'ignore', timeout: TIMEOUT_MS });
  const end = new Promise<string | null>((resolve) => child.on('exit', (_, signal) => resolve(signal)));
  const saved = join(out, 'state', part);
  const watch = setInterval(() => {
    if (existsSync(saved) && readdirSync(saved).some((name) => /^\d+$/.test(name))) child.kill('SIGKILL');
  }, POLL_MS);
  const signal = await end;
  clearInterval(watch);
  return signal === 'SIGKILL' && !existsSync(join(out, 'results.json'));
}
