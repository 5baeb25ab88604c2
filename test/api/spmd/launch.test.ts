/** A solver under `merak launch`: the flags give the workers; killed in the middle it goes on, with another number of them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const SCRIPT = path('../scripts/sinkhorn.ts');
const CLI = path('../../launcher/cli.ts');

async function run(args: readonly string[]): Promise<{ code: number | null; signal: string | null; stdout: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  child.stdout.on('data', (data) => {
    stdout += data;
  });
  child.stderr.resume();
  const [code, signal] = await once(child, 'close');
  return { code, signal, stdout };
}

interface Result {
  readonly workers: number;
  readonly first: number;
  readonly transported: number;
  readonly f: readonly number[];
}

it('resumes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'merak-test-'));
  const logs = ['--log-dir', join(folder, 'logs')];
  const [plain, killed] = await Promise.all([
    run([SCRIPT, join(folder, 'plain')]),
    run([CLI, 'launch', '--workers', '2', ...logs, SCRIPT, join(folder, 'killed'), '23']),
  ]);
  expect(killed).toMatchObject({ signal: 'SIGKILL', stdout: '' });
  const resumed = await run([CLI, 'launch', '--dp', '3', ...logs, SCRIPT, join(folder, 'killed')]);
  const [expected, found] = [plain, resumed].map(({ stdout }) => JSON.parse(stdout) as Result);
  expect(expected).toMatchObject({ workers: 1, first: 0 });
  expect(found).toMatchObject({ workers: 3, first: 20 });
  expect(found!.transported).toBeCloseTo(expected!.transported, 6);
  for (const [i, value] of found!.f.entries()) expect(value).toBeCloseTo(expected!.f[i]!, 6);
});
