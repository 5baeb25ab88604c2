/** A recipe in tests: on its sample in this process under any layout, or as a process of its own that is killed in the middle. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { setLaunchContext } from '../../src/config/launch.js';
import type { OptionsInput } from '../../src/config/schema.js';
import { type TrainSettings, train } from '../../src/launcher/train.js';
import type { Results } from '../../src/trainers/output/results.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const TIMEOUT_MS = 120_000;

export interface RecipeRun {
  /** A path in a folder that is removed afterwards. */
  path(...parts: string[]): string;
  run(out: string, flags?: OptionsInput, more?: Partial<TrainSettings>): Promise<Results>;
  /** Ends the run by SIGKILL as soon as part `part` of its state has saved something. */
  killed(out: string, part: string, flags?: readonly string[], settings?: readonly string[]): Promise<void>;
  /** Losses of every step of a `fit`. */
  losses(out: string, part: string): Promise<number[]>;
}

/** To be called at the top of a test file. */
export function recipeRun(name: string, set: readonly string[]): RecipeRun {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), `merak-${name}-`));
  });
  afterEach(() => setLaunchContext(undefined));
  afterAll(() => rm(folder, { recursive: true }));
  const path = (...parts: string[]): string => join(folder, ...parts);
  return {
    path,
    run(out, flags = {}, more = {}) {
      const settings = { set, sample: true, out: path(out), quiet: true, ...more };
      return train(name, settings, { logDir: path('logs'), ...flags });
    },
    async killed(out, part, flags = ['--sample'], settings = set) {
      const args = ['--import', 'tsx', 'test/launcher/cli.ts', 'train', name, '--out', path(out)];
      const command = [...args, ...flags, '--log-dir', path('logs'), '--set', ...settings];
      const child = spawn(process.execPath, command, { cwd: ROOT, stdio: 'ignore', timeout: TIMEOUT_MS });
      const end = new Promise<string | null>((resolve) => child.on('exit', (_, signal) => resolve(signal)));
      const watch = setInterval(() => {
        if (snapshots(path(out, 'state', part)).length > 0) child.kill('SIGKILL');
      }, 5);
      const signal = await end;
      clearInterval(watch);
      expect(signal).toBe('SIGKILL');
      expect(existsSync(path(out, 'results.json'))).toBe(false);
    },
    losses: (out, part) => stepLosses(path(out), part),
  };
}

/** Losses of every step of the `fit` called `part` of a run. */
export async function stepLosses(out: string, part: string): Promise<number[]> {
  const folder = join(out, 'state', part);
  const step = Math.max(...snapshots(folder));
  return JSON.parse(await readFile(join(folder, String(step), 'losses.json'), 'utf8'));
}

function snapshots(folder: string): number[] {
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names.filter((name) => /^\d+$/.test(name)).map(Number);
}

/** Every number within `tolerance` of its counterpart. */
export function expectClose(received: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(received.length).toBe(expected.length);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) worst = Math.max(worst, Math.abs(received[i]! - expected[i]!));
  // NaN is no number to be close to.
  expect(worst <= tolerance, `differ by ${worst}, more than ${tolerance}`).toBe(true);
}
