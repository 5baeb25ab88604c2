/** results.json: what a run measured, and all that is needed to say of what. */
import { execFile } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Table } from '../context.js';
import type { Figures } from '../trainer.js';

export interface Results {
  readonly trainer: string;
  /** When the run began: ISO 8601, UTC. */
  readonly date: string;
  /** Of Merak's repository when the run began, with `+` where files differ from it; null where there is none. */
  readonly commit: string | null;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly node: string };
  readonly seconds: number;
  readonly seed: number;
  readonly config: unknown;
  /** Layout flags the run was started with. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly figures: Figures;
  readonly tables: Readonly<Record<string, Table>>;
  readonly plots: readonly string[];
}

export async function describeRun(): Promise<Pick<Results, 'date' | 'commit' | 'machine'>> {
  const [first] = cpus();
  const machine = { cpu: first?.model ?? 'unknown', cores: cpus().length, node: process.version };
  return { date: new Date().toISOString(), commit: await commit(), machine };
}

async function commit(): Promise<string | null> {
  const git = async (...args: string[]): Promise<string> => {
    const cwd = fileURLToPath(new URL('.', import.meta.url));
    const { stdout } = await promisify(execFile)('git', args, { cwd, timeout: 10_000 });
    return stdout.trim();
  };
  try {
    const hash = await git('rev-parse', '--short', 'HEAD');
    return (await git('status', '--porcelain', '--untracked-files=no')) === '' ? hash : `${hash}+`;
  } catch {
    return null;
  }
}
