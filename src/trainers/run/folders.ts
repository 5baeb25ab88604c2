/** Writing files that are there whole or not at all. */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { MerakError } from '../../errors.js';

/** @throws MerakError checkpoint/write */
export async function writeAtomically(path: string, content: string | Uint8Array): Promise<void> {
  const building = `${path}.${process.pid}.partial`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(building, content, { flush: true });
    await rename(building, path);
  } catch (cause) {
    await rm(building, { force: true }).catch(() => {});
    throw cannotWrite(path, cause);
  }
}

/** Lets `fill` write into a folder that appears at `path` when it is complete. `path` must not exist. */
export async function folderAtomically(path: string, fill: (folder: string) => Promise<void>): Promise<void> {
  const building = `${path}.partial`;
  try {
    await rm(building, { recursive: true, force: true });
    await mkdir(building, { recursive: true });
    await fill(building);
    await rename(building, path);
  } catch (cause) {
    await rm(building, { recursive: true, force: true }).catch(() => {});
    throw cause instanceof MerakError ? cause : cannotWrite(path, cause);
  }
}

function cannotWrite(path: string, cause: unknown): MerakError {
  return new MerakError('checkpoint/write', `cannot write: ${(cause as Error).message}`, {
    path: resolve(path),
    hint: 'free disk space or choose another folder with --out; nothing half-written was left',
    cause,
  });
}
