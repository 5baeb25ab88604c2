/** Solvers killed in the middle and resumed end as those that were not: exactly on as many workers, closely on more. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const TIMEOUT_MS = 60_000;

function start(name: string, set: readonly string[], out: string, ...flags: string[]) {
  const args = ['--import', 'tsx', 'test/launcher/cli.ts', 'train', name, '--out', out];
  const command = [...args, '--log-dir', join(out, 'logs'), ...flags, '--set', ...set];
  const child = spawn(process.execPath, command, { cwd: ROOT, stdio: 'ignore', timeout: TIMEOUT_MS });
  const end = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', resolve);
  });
  return { child, end };
}

/** Kills the run when the part `steps` has saved something and is not done. */
async function killed(name: string, set: readonly string[], out: string, steps: string): Promise<number> {
  const { child, end } = start(name, set, out);
  const folder = join(out, 'state', steps);
  const watch = setInterval(() => {
    const saved = existsSync(folder) ? readdirSync(folder) : [];
    if (saved.some((one) => /^\d+$/.test(one))) child.kill('SIGKILL');
  }, 5);
  await end;
  clearInterval(watch);
  expect(existsSync(join(out, 'results.json'))).toBe(false);
  return Math.max(...readdirSync(folder).map(Number).filter(Number.isFinite));
}

const figuresOf = async (out: string) => JSON.parse(await readFile(join(out, 'results.json'), 'utf8')).figures;

it.each([
  [
    'ot',
    ['sizes=[[3000,2]]', 'budgets=[0.5]', 'baselines=[]', 'outer=60', 'warmUp=20', 'refresh=20'],
    'n3000-d2~rank5-0.5~steps',
    60,
    1e-5,
  ],
  [
    'sigma',
    [
      'nodes=520',
      'models=[barabasi-albert]',
      'noise=[0.1]',
      'repeats=1',
      'hops=[1]',
      'baselines=[]',
      'iterations=20',
      'sinkhornIterations=5',
      'reportAt=[20]',
    ],
    'barabasi-albert-0.1-0~K1~steps',
    20,
    // Twenty iterations of single-precision sums in another order: where it was killed says how many.
    1e-4,
  ],
] as const)(
  '%s resumes after SIGKILL',
  async (name, set, steps, length, tolerance) => {
    const folder = await mkdtemp(join(tmpdir(), `merak-${name}-killed-`));
    try {
      const [whole, broken, elsewhere] = [join(folder, 'whole'), join(folder, 'broken'), join(folder, 'elsewhere')];
      expect(await killed(name, set, broken, steps)).toBeLessThan(length);
      await cp(broken, elsewhere, { recursive: true });
      expect(await start(name, set, broken, '--resume').end).toBe(0);
      expect(await start(name, set, elsewhere, '--resume', '--workers', '2').end).toBe(0);
      expect(await start(name, set, whole).end).toBe(0);
      const [expected, received] = [await figuresOf(whole), await figuresOf(elsewhere)];
      expect(await figuresOf(broken)).toEqual(expected);
      for (const [key, value] of Object.entries<number>(expected)) {
        expect(Math.abs(received[key] / value - 1), key).toBeLessThan(tolerance);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  2 * TIMEOUT_MS,
);
