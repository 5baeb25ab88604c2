/** What `--resume` reads: which run the output folder holds, and which of its stages are done. */
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MerakError } from '../../errors.js';
import type { Json, Keep } from '../context.js';
import { folderAtomically, writeAtomically } from './folders.js';
import { keeperOf } from './keep.js';
import { openSnapshots, type Snapshots } from './snapshots.js';

/** What makes two runs the same run. */
export interface RunIdentity {
  readonly trainer: string;
  readonly config: unknown;
  readonly seed: number;
}

export interface RunState {
  snapshots(name: string): Snapshots;
  stage<Value extends Json>(name: string, body: () => Promise<Value>, keep?: Keep): Promise<Value>;
  /** Marks the run as complete: another may take its folder. */
  finish(): Promise<void>;
}

const IDENTITY = 'run.json';
const DONE = 'done.json';
const VALUE = 'value.json';

/** @throws MerakError trainer/resume: nothing to resume, another run's state, or an unfinished run in the way */
export async function openRunState(folder: string, identity: RunIdentity, resume: boolean): Promise<RunState> {
  const identityFile = join(folder, IDENTITY);
  if (resume) await checkSame(identityFile, identity);
  else if (holdsUnfinished(folder)) throw unfinished(folder);
  else await rm(folder, { recursive: true, force: true });
  await rm(join(folder, DONE), { force: true });
  await mkdir(folder, { recursive: true });
  await writeAtomically(identityFile, JSON.stringify(identity, null, 1));
  const used = new Set<string>();
  const claim = (name: string): string => {
    if (!/^[\w.-]+(\/[\w.-]+)*$/.test(name) || used.has(name)) throw badName(name, used.has(name));
    used.add(name);
    return join(folder, name.replaceAll('/', '~'));
  };
  return {
    snapshots: (name) => openSnapshots(claim(name)),
    async stage<Value extends Json>(name: string, body: () => Promise<Value>, keep: Keep = []): Promise<Value> {
      const done = claim(name);
      const keeper = keeperOf(keep);
      if (existsSync(done)) {
        await keeper.load(done);
        return JSON.parse(await readFile(join(done, VALUE), 'utf8')) as Value;
      }
      const value = await body();
      await folderAtomically(done, async (building) => {
        await keeper.save(building);
        await writeAtomically(join(building, VALUE), JSON.stringify(value));
      });
      return value;
    },
    finish: () => writeAtomically(join(folder, DONE), '{}'),
  };
}

/** A run that ended before anything was saved has nothing to lose. */
function holdsUnfinished(folder: string): boolean {
  if (!existsSync(folder)) return false;
  const names = readdirSync(folder);
  return !names.includes(DONE) && names.some((name) => name !== IDENTITY);
}

async function checkSame(file: string, identity: RunIdentity): Promise<void> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new MerakError('trainer/resume', 'there is no run to resume', {
      path: file,
      hint: 'leave --resume away to start one, or name its folder with --out',
      cause,
    });
  });
  const saved = JSON.parse(text) as RunIdentity;
  const difference = firstDifference(saved, JSON.parse(JSON.stringify(identity)), '');
  if (difference === undefined) return;
  throw new MerakError('trainer/resume', 'the run to resume was started otherwise', { path: file, ...difference });
}

/** The first key, depth first, whose values differ. */
function firstDifference(
  saved: unknown,
  given: unknown,
  path: string,
): { expected: string; received: string } | undefined {
  const bothObjects = [saved, given].every((value) => typeof value === 'object' && value !== null);
  if (!bothObjects) {
    const show = (value: unknown) => `${path} = ${JSON.stringify(value) ?? 'not set'}`;
    return Object.is(saved, given) ? undefined : { expected: show(saved), received: show(given) };
  }
  const [a, b] = [saved as Record<string, unknown>, given as Record<string, unknown>];
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const found = firstDifference(a[key], b[key], path === '' ? key : `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function unfinished(folder: string): MerakError {
  return new MerakError('trainer/resume', 'the output folder holds a run that did not finish', {
    path: folder,
    hint: `--resume goes on with it; or remove ${folder}, or choose another --out`,
  });
}

function badName(name: string, isUsed: boolean): MerakError {
  return new MerakError('config/invalid', isUsed ? `'${name}' is kept twice in one run` : `'${name}' is no name`, {
    path: 'the name given to fit, stage or iterate',
    expected: 'letters, digits, . - _ and /, each name once',
    received: name,
  });
}
