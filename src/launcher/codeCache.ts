/**
 * V8's code of large CommonJS files, kept between starts: compiling tfjs's five megabytes anew costs each start some fifty
 * milliseconds. In `~/.cache/merak/code`; MERAK_CODE_CACHE names another folder, or `off`.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import module, { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { Script } from 'node:vm';

/** Characters; of smaller files compiling takes less than reading a second one. */
const LEAST_LENGTH = 200_000;

/** What `require` calls with a file's text; other tools that compile (tsx, pirates) change it in the same way. */
interface Compiling {
  _compile(this: NodeJS.Module, content: string, path: string, ...rest: unknown[]): unknown;
}

interface Fresh {
  readonly script: Script;
  readonly kept: string;
}

/** Calls `load`, whose modules are compiled from what is kept; what is not, or no longer fits, is kept for the next time. */
export function withCodeCache<T>(load: () => T, folder = folderOf(process.env.MERAK_CODE_CACHE)): T {
  const prototype = (module as unknown as { prototype: Compiling }).prototype;
  if (folder === undefined || typeof prototype?._compile !== 'function') return load();
  const compile = prototype._compile;
  const fresh: Fresh[] = [];
  prototype._compile = function (content, path, ...rest) {
    if (content.length < LEAST_LENGTH) return compile.call(this, content, path, ...rest);
    const kept = join(folder, nameOf(path));
    const cachedData = readIfThere(kept);
    const script = new Script(module.wrap(content), { filename: path, ...(cachedData ? { cachedData } : {}) });
    // V8 looks at its own version, its flags, the text's length and a checksum; what it refuses it compiles.
    if (script.cachedDataRejected !== false) fresh.push({ script, kept });
    const run = script.runInThisContext() as (...args: unknown[]) => unknown;
    return run.call(this.exports, this.exports, createRequire(path), this, path, dirname(path));
  };
  try {
    return load();
  } finally {
    prototype._compile = compile;
    for (const one of fresh) keep(one);
  }
}

function folderOf(setting: string | undefined): string | undefined {
  if (setting === 'off') return undefined;
  return setting !== undefined && setting !== '' ? setting : join(homedir(), '.cache', 'merak', 'code');
}

/** Another name for another text: V8 itself compares no more than its length. */
function nameOf(path: string): string {
  const { size, mtimeMs } = statSync(path);
  const key = [path, size, mtimeMs, process.version, process.arch].join('\n');
  return `${createHash('sha256').update(key).digest('hex').slice(0, 32)}.v8`;
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** Whole or not at all. A folder that cannot be written keeps nothing. */
function keep({ script, kept }: Fresh): void {
  try {
    mkdirSync(dirname(kept), { recursive: true, mode: 0o700 });
    const unfinished = `${kept}.${process.pid}`;
    writeFileSync(unfinished, script.createCachedData(), { mode: 0o600 });
    renameSync(unfinished, kept);
  } catch {
    // The next start compiles again.
  }
}
