/** One workload trained as tfjs users train, on the WASM backend; `bench/training/tfjsProcess.ts` runs it in a process of its own. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Timed } from './result.js';

export interface TfjsJob {
  readonly workload: string;
  /** A step of the whole batch that would take longer is timed on fewer samples, down to one. */
  readonly maxStepSeconds: number;
  /** Steps are timed until so many seconds are over, but at least one after the first. */
  readonly seconds: number;
}

export type TfjsAnswer = (Timed & { readonly numThreads: number }) | { readonly skipped: string };

const SCRIPT = fileURLToPath(new URL('./tfjsProcess.ts', import.meta.url));

/** Rejects when the process fails or does not answer within `timeoutSeconds`. */
export function trainWithTfjs(job: TfjsJob, timeoutSeconds: number): Promise<TfjsAnswer> {
  return answerOf(process.execPath, ['--import', 'tsx', SCRIPT, JSON.stringify(job)], { timeoutSeconds });
}

/** Runs a program that prints one line of JSON at its end. */
export function answerOf<T>(
  command: string,
  args: readonly string[],
  options: { readonly timeoutSeconds: number; readonly env?: NodeJS.ProcessEnv },
): Promise<T> {
  const { timeoutSeconds, env = process.env } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutSeconds * 1000 });
    let [out, complaints] = ['', ''];
    child.stdout.on('data', (data) => {
      out += data;
    });
    child.stderr.on('data', (data) => {
      complaints += data;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const last = (text: string) => text.trim().split('\n').at(-1) ?? '';
      if (code === 0) return resolve(JSON.parse(last(out)) as T);
      if (signal === 'SIGTERM') return reject(new Error(`no answer within ${timeoutSeconds} s`));
      reject(new Error(errorLine(complaints) || `it ended with ${signal ?? code}`));
    });
  });
}

/** Where Node and Python say what was thrown: the last line that names an error, else the last. */
function errorLine(complaints: string): string {
  const lines = complaints
    .trim()
    .split('\n')
    .map((line) => line.trim());
  return lines.findLast((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1) ?? '';
}
