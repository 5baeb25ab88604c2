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
  const { report, text, code } = await gpu([
    '--dry-run',
    '--only',
    'build,doctor,limits,nccl,rooflines,profile,speed,curve',
  ]);
  expect(report.sections.map(({ name, status }) => [name, status])).toEqual([
    ['build', 'ok'],
    ['doctor', 'ok'],
    ['nccl', 'ok'],
    ['curve, processor', 'ok'],
    ['limits', 'skipped (a dry run measures nothing)'],
    ['speed', 'ok'],
    ['curve', 'ok'],
    ['rooflines', 'ok'],
    ['profile', 'ok'],
  ]);
  expect(code).toBe(0);
  expect(text).toContain('No GPU figure is in here');
  expect(text).not.toContain('MFU');
  const result = <Result>(name: string): Result =>
    (report.sections.find((section) => section.name === name) as Section<Result>).result!;
  const { twoRanksOnOneGpu } = result<{ twoRanksOnOneGpu: { message: string }[] }>('nccl');
  expect(twoRanksOnOneGpu[0]?.message).toContain('Duplicate GPU detected');
  const { memory } = result<{ memory: { result: { joined: number; planned: number } }[] }>('nccl');
  expect(memory.map(({ result: taken }) => taken)).toEqual([expect.objectContaining({ joined: 0, planned: 0 })]);
  expect(text).toContain('NCCL took of a card, of 1 rank(s): 0 MiB to join');
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

test('a command that hangs is ended with all it started, and does not hold up the rest', async () => {
  const { runCommand } = await import(join(root, 'scripts/gpu/command.mjs'));
  // A shell whose child has the pipe, and ignores what asks it to end.
  const script = 'sh -c "trap \'\' TERM INT; echo $$ >&2; sleep 300" & wait';
  const began = performance.now();
  const problem: Error = await runCommand('sh', ['-c', script], { cwd: root, env: process.env, seconds: 1 }).catch(
    (error: Error) => error,
  );
  expect(performance.now() - began).toBeLessThan(30_000);
  expect(problem.message).toContain('ended with its time (1 s)');
  const pid = Number(/: (\d+)$/.exec(problem.message)?.[1]);
  expect(pid).toBeGreaterThan(1);
  expect(() => process.kill(pid, 0)).toThrow();
});

test('the report says which marks were reached, what was too far from float64, and where time goes', async () => {
  const { toMarkdown } = await import(join(root, 'scripts/gpu/report.mjs'));
  const run = (engine: string, tokensPerSecond: number, mfu: number) => ({
    engine,
    tokensPerSecond,
    mfu,
    stepSeconds: 0.07,
    startSeconds: 9,
    peakBytes: { measured: 2 ** 31 },
  });
  const section = (name: string, result: unknown) => ({ name, status: 'ok', seconds: 1, result });
  const text = toMarkdown({
    date: '2026-01-01',
    commit: 'abc',
    dry: false,
    sections: [
      section('kernels', {
        files: ['a'],
        numPassed: 1,
        numFailed: 0,
        numSkipped: 0,
        failures: [],
        relativeErrors: [
          { kernel: 'Conv2D', precision: 'bf16', error: 2e-3, limit: 1e-2 },
          { kernel: 'Conv2D', precision: 'bf16', error: 2e-2, limit: 1e-2 },
        ],
      }),
      section('speed 124M', {
        name: '124M',
        batchSize: 32,
        runs: [
          run('merak', 100, 0.41),
          run('torchCompile', 98, 0.4),
          { engine: 'torch', skipped: '3 s were left' },
          run('merak', 110, 0.43),
        ],
      }),
      section('speed 1.5B', { name: '1.5B', batchSize: 12, runs: [run('merak', 10, 0.47)] }),
      section('rooflines 124M', {
        rows: [
          { kernel: 'MerakGelu', shapes: 'x', count: 12, seconds: 1e-4, share: 0.5 },
          { kernel: 'MerakProduct', shapes: 'y', count: 48, seconds: 1e-4, share: 1 },
        ],
        failures: [],
        numLeft: 0,
      }),
    ],
  });
  expect(text).toContain('| 124M | 32 | Merak | 105 | 100, 110 | 42.0 % |');
  expect(text).toContain('124M: MFU 42.0 %, mark 40.0 %: reached');
  expect(text).toContain('124M: 1.071x torch.compile, mark 1.0x: reached');
  expect(text).toContain('1.5B: MFU 47.0 %, mark 48.0 %: MISSED');
  expect(text).toContain('| Conv2D | bf16 | 2 | 2.0e-2 TOO LARGE | 0.01 |');
  expect(text).toContain('6.00 ms, of which their rooflines ask for 5.40 ms');
  expect(text).toContain('| MerakGelu | 12 | 1.20 | 20.0 % | 50.0 % | 0.60 |');
});
