/** What a result must name to mean anything: the machine, the versions, the commit. */
import { execFileSync } from 'node:child_process';
import { cpus, loadavg, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { loadAddon } from '../src/runtime/native/addon.js';

export interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly numCores: number;
  readonly memoryBytes: number;
  /** Processes that wanted to run in the minute before: well above 0 means that the figures are too low. */
  readonly loadBefore: number;
  readonly node: string;
  readonly oneDnn: string;
  readonly isa: string;
  readonly compiler: string;
  /** With '+' when the working tree differs from it. */
  readonly commit: string;
}

const root = fileURLToPath(new URL('..', import.meta.url));

function output(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return '';
  }
}

export function describeMachine(): Machine {
  const { dnnlVersion, isa } = loadAddon().info();
  // Results of earlier pieces are not what is measured.
  const changed = output('git', [
    'status',
    '--porcelain',
    '--untracked-files=no',
    '--',
    ':/',
    ':(top,exclude)bench/results',
  ]);
  const dirty = changed === '' ? '' : '+';
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    numCores: cpus().length,
    memoryBytes: totalmem(),
    loadBefore: loadavg()[0] ?? 0,
    node: process.version,
    oneDnn: dnnlVersion,
    isa,
    compiler: output('c++', ['--version']).split('\n')[0] || 'unknown',
    commit: `${output('git', ['rev-parse', '--short', 'HEAD']) || 'unknown'}${dirty}`,
  };
}

/** As part of a file name: "amd-epyc-9b45-2-cores". */
export function machineName({ cpu, numCores }: Machine): string {
  const model = cpu
    .toLowerCase()
    .replace(/\((r|tm)\)|processor|cpu|@.*$/g, ' ')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
  return `${model}-${numCores}-cores`;
}
