/** From `merak launch` to the end of the first step, GPT 10 M on two workers, and its parts. Run alone: node --import tsx bench/startup.ts */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderTable, type Table } from './table.js';

export interface StartupResult {
  /** From the command to the end of the first step: the fastest of a few runs. */
  readonly firstStepSeconds: number;
  /** `node -e 0`, once for the command and once for the workers, which start together. */
  readonly nodeSeconds: number;
  readonly parts: readonly { readonly name: string; readonly seconds: number }[];
}

interface Told {
  readonly born: number;
  readonly imported: number;
  readonly built: number;
  readonly steps: readonly number[];
  readonly parts: readonly { readonly name: string; readonly startTime: number; readonly duration: number }[];
}

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NUM_WORKERS = 2;

/** Needs dist/, which `npm run bench` builds: what is measured is what is installed. */
export function measureStartup(repeat: number): StartupResult {
  const runs = Array.from({ length: repeat }, launchOnce).sort((a, b) => a.firstStepSeconds - b.firstStepSeconds);
  const node = Array.from({ length: 2 * repeat }, () => seconds(() => execFileSync(process.execPath, ['-e', '0'])));
  const fastest = runs[0];
  if (fastest === undefined) throw new Error('nothing was launched');
  return { ...fastest, nodeSeconds: (1 + NUM_WORKERS) * Math.min(...node) };
}

function launchOnce(): Omit<StartupResult, 'nodeSeconds'> {
  const folder = mkdtempSync(join(tmpdir(), 'merak-startup-'));
  try {
    const args = [
      'bin/merak.mjs',
      'launch',
      'bench/startup/train.mjs',
      '--dp',
      String(NUM_WORKERS),
      '--threads-per-worker',
      '1',
      '--log-dir',
      folder,
    ];
    const began = Date.now();
    const options = { cwd: ROOT, encoding: 'utf8', stdio: 'pipe', timeout: 60_000 } as const;
    const told: Told = JSON.parse(execFileSync(process.execPath, args, options).trim().split('\n').at(-1) ?? '');
    const first = told.steps[0] ?? Number.NaN;
    const lastPart = Math.max(...told.parts.map((part) => part.startTime + part.duration)) + told.born;
    const ms = (name: string, milliseconds: number) => ({ name, seconds: milliseconds / 1000 });
    return {
      firstStepSeconds: (first - began) / 1000,
      parts: [
        ms('Node starts the command', told.born - began),
        ms('merak and tfjs are imported', told.imported - told.born),
        ms('the model is built', told.built - told.imported),
        ...told.parts.map(({ name, duration }) => ms(name, duration)),
        ms('first step', first - lastPart),
        ms('(a later step)', (told.steps[1] ?? Number.NaN) - first),
      ],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function seconds(work: () => void): number {
  const began = performance.now();
  work();
  return (performance.now() - began) / 1000;
}

export function startupTable({ firstStepSeconds, nodeSeconds, parts }: StartupResult): Table {
  const row = (name: string, value: number) => [name, `${(value * 1e3).toFixed(0)} ms`];
  return {
    title: 'Start-up: merak launch to the first step, GPT 10 M, 2 workers (dp2)',
    columns: ['what', 'time'],
    rows: [
      ...parts.map((part) => row(part.name, part.seconds)),
      row('launch to the end of the first step', firstStepSeconds),
      row(`node -e 0, ${1 + NUM_WORKERS} processes one after the other`, nodeSeconds),
      row("beyond Node's own start", firstStepSeconds - nodeSeconds),
    ],
    notes: ['Wall clock; the fastest of a few runs. Workers start while the plan is being made.'],
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(renderTable(startupTable(measureStartup(3))));
