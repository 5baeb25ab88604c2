/** Numbered snapshots of one part of a run: the newest complete one counts, older ones are removed. */
import { existsSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { folderAtomically } from './folders.js';

export interface Snapshot {
  /** Steps done when it was made. */
  readonly step: number;
  readonly folder: string;
}

export interface Snapshots {
  latest(): Snapshot | undefined;
  save(step: number, fill: (folder: string) => Promise<void>): Promise<void>;
}

export function openSnapshots(folder: string): Snapshots {
  const steps = (): number[] =>
    existsSync(folder)
      ? readdirSync(folder)
          .filter((name) => /^\d+$/.test(name))
          .map(Number)
          .sort((a, b) => a - b)
      : [];
  return {
    latest() {
      const step = steps().at(-1);
      return step === undefined ? undefined : { step, folder: join(folder, String(step)) };
    },
    async save(step, fill) {
      const older = steps();
      if (older.includes(step)) return;
      await folderAtomically(join(folder, String(step)), fill);
      for (const old of older) await rm(join(folder, String(old)), { recursive: true, force: true });
    },
  };
}
