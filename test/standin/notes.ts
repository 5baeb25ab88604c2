/** What the stand-ins note of the calls they get: a line each, in the file that a variable names (libcuda.cpp). */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, vi } from 'vitest';

type Subject = 'WAITS' | 'LAUNCHES' | 'CALLS' | 'GRAPHS';

/** In every test of the file or block, of this process and of its workers; the function takes the lines since it was called last. */
export function standInNotes(subject: Subject): () => string[] {
  let folder: string;
  let taken: number;
  const file = () => join(folder, subject);
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'merak-notes-'));
    taken = 0;
    vi.stubEnv(`MERAK_STANDIN_${subject}`, file());
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true, force: true });
  });
  return () => {
    const all = existsSync(file()) ? readFileSync(file(), 'utf8').split('\n').slice(0, -1) : [];
    const since = all.slice(taken);
    taken = all.length;
    return since;
  };
}
