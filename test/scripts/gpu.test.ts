/** `npm run gpu -- --dry-run`: every section up to the first CUDA call, the stand-ins after it; a report however a section ends. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const out = mkdtempSync(join(tmpdir(), 'merak-gpu-'));
afterAll(() => rmSync(out, { recursive: true }));

interface Section<Result> {
  readonly name: string;
  readonly status: string;
  readonly error?: string;
  readonly result?: Result;
}
interface Report {
  readonly sections: readonly Section<unknown>[];
}

async function gpu(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ report: Report; text: string; code: number }> {
  const folder = mkdtempSync(join(out, 'run-'));
  const run = promisify(execFile)(process.execPath, ['scripts/gpu.mjs', '--out', folder, ...args], {
    cwd: root,
    env: { ...process.env, ...env },
  });
  const code = await run.then(
    () => 0,
    (error) => error.code,
  );
  const date = new Date().toISOString().slice(0, 10);
  const stem = join(folder, `${date}-gpu${args.includes('--dry-run') ? '-dry-run' : ''}`);
  return { report: JSON.parse(readFileSync(`${stem}.json`, 'utf8')), text: readFileSync(`${stem}.md`, 'utf8'), code };
}

test('a dry run reaches the end and says that it is one', async () => {
  const { report, text, code } = await gpu(['--dry-run', '--only', 'build,doctor,limits,nccl,rooflines,speed,curve']);
  expect(report.sections.map(({ name, status }) => [name, status])).toEqual([
    ['build', 'ok'],
    ['doctor', 'ok'],
    ['limits', 'skipped (a dry run measures nothing)'],
    ['nccl', 'ok'],
    ['rooflines', 'ok'],
    ['speed', 'ok'],
    ['curve', 'ok'],
  ]);
  expect(code).toBe(0);
  expect(text).toContain('No GPU figure is in here');
  expect(text).not.toContain('MFU');
  const result = <Result>(name: string): Result =>
    (report.sections.find((section) => section.name === name) as Section<Result>).result!;
  const { twoRanksOnOneGpu } = result<{ twoRanksOnOneGpu: { message: string }[] }>('nccl');
  expect(twoRanksOnOneGpu[0]?.message).toContain('Duplicate GPU detected');
  const { rows, failures } = result<{ rows: { kernel: string; share: number }[]; failures: unknown[] }>('rooflines');
  expect(failures).toEqual([]);
  expect(rows.map(({ kernel }) => kernel)).toContain('MerakSoftmaxCrossEntropy');
  // The same model and data on the same engine, in bf16 and in f32.
  const curve = result<{ card: number[]; largestRelativeDifference: number }>('curve');
  expect(curve.card).toHaveLength(3);
  expect(curve.largestRelativeDifference).toBeLessThan(1e-2);
}, 240_000);

test('without a GPU it stops at the first CUDA call, and the report says why', async () => {
  const nowhere = mkdtempSync(join(out, 'no-cuda-'));
  const { report, code } = await gpu(['--only', 'build,doctor,kernels'], { MERAK_CUDA_LIBRARIES: nowhere });
  expect(code).toBe(1);
  expect(report.sections.map(({ name, status }) => [name, status])).toEqual([
    ['build', 'ok'],
    ['doctor', 'failed'],
    ['kernels', 'not tried'],
  ]);
  expect(report.sections[1]?.error).toContain('libcuda.so.1');
}, 60_000);

test('sections that no time is left for are not begun, and the report is there', async () => {
  const { report } = await gpu(['--dry-run', '--seconds', '8', '--only', 'build,curve']);
  expect(report.sections.find(({ name }) => name === 'curve')?.status).toBe('no time left');
}, 60_000);
