/** What the machine can do at best: matrix products, copies, all-reduces. Run alone: node --import tsx bench/limits.ts */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { ArenaHandle } from '../src/runtime/device.js';
import { loadAddon } from '../src/runtime/native/addon.js';
import type { AllReduceTask, Order } from './allReduceRank.js';
import { renderTable, type Table } from './table.js';

export interface MatmulLimit {
  readonly dtype: 'f32' | 'bf16';
  readonly numThreads: number;
  readonly flopsPerSecond: number;
}

export interface Limits {
  readonly matmul: readonly MatmulLimit[];
  readonly copy: readonly { readonly numThreads: number; readonly bytesPerSecond: number }[];
  readonly allReduce: readonly { readonly bytes: number; readonly seconds: number }[];
}

const SIZE = 2048;
const COPY_BYTES = 256e6;
const ALL_REDUCES: readonly AllReduceTask[] = [
  { count: 4096 / 4, times: 1000, repeat: 10 },
  { count: 25e6 / 4, times: 2, repeat: 10 },
];

/** 1, 2, 4, ... and all cores. */
function threadCounts(): number[] {
  const all = cpus().length;
  const counts = [all];
  for (let n = 1; n < all; n *= 2) counts.push(n);
  return counts.sort((a, b) => a - b);
}

export async function measureLimits(repeat: number): Promise<Limits> {
  const addon = loadAddon();
  const matmul: MatmulLimit[] = [];
  const copy: { numThreads: number; bytesPerSecond: number }[] = [];
  for (const numThreads of threadCounts()) {
    addon.setThreads(numThreads);
    for (const dtype of ['f32', 'bf16'] as const) {
      const seconds = matmulSeconds(dtype, repeat);
      if (seconds !== undefined) matmul.push({ dtype, numThreads, flopsPerSecond: (2 * SIZE ** 3) / seconds });
    }
    copy.push({ numThreads, bytesPerSecond: COPY_BYTES / addon.copySeconds(COPY_BYTES, repeat) });
  }
  return { matmul, copy, allReduce: await measureAllReduce() };
}

/** Undefined where oneDNN has no such product on this processor. */
function matmulSeconds(dtype: 'f32' | 'bf16', repeat: number): number | undefined {
  try {
    return loadAddon().matmulSeconds({ rows: SIZE, inner: SIZE, columns: SIZE, dtype, repeat });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'engine/unsupported') return undefined;
    throw error;
  }
}

async function measureAllReduce(): Promise<Limits['allReduce']> {
  const script = fileURLToPath(new URL('./allReduceRank.ts', import.meta.url));
  const ranks = [0, 1].map((rank) => fork(script, [String(rank)], { execArgv: ['--import', 'tsx'] }));
  try {
    const handles = (await Promise.all(ranks.map(answer))) as ArenaHandle[][];
    await Promise.all(ranks.map((rank) => ask(rank, { kind: 'connect', handles: handles.flat() })));
    const results: { bytes: number; seconds: number }[] = [];
    for (const task of ALL_REDUCES) {
      const seconds = (await Promise.all(ranks.map((rank) => ask(rank, { kind: 'time', task })))) as number[];
      results.push({ bytes: task.count * 4, seconds: Math.max(...seconds) });
    }
    return results;
  } finally {
    for (const rank of ranks) rank.kill();
  }
}

function ask(rank: ChildProcess, order: Order): Promise<unknown> {
  const reply = answer(rank);
  rank.send(order);
  return reply;
}

async function answer(rank: ChildProcess): Promise<unknown> {
  const ended = new AbortController();
  const end = once(rank, 'exit', { signal: ended.signal }).then(([code, signal]) => {
    throw new Error(`a process of the all-reduce benchmark ended early: ${signal ?? code}`);
  });
  end.catch(() => {});
  try {
    return await Promise.race([once(rank, 'message').then(([message]) => message), end]);
  } finally {
    ended.abort();
  }
}

export function limitsTable({ matmul, copy, allReduce }: Limits): Table {
  return {
    title: 'Limits of the machine',
    columns: ['what', 'threads', 'figure'],
    rows: [
      ...matmul.map((one) => [
        `oneDNN matmul ${one.dtype}`,
        String(one.numThreads),
        `${(one.flopsPerSecond / 1e9).toFixed(0)} GFLOP/s`,
      ]),
      ...copy.map((one) => ['copy in memory', String(one.numThreads), `${(one.bytesPerSecond / 1e9).toFixed(1)} GB/s`]),
      ...allReduce.map(({ bytes, seconds }) => [
        `all-reduce of ${bytes < 1e6 ? `${bytes} bytes` : `${bytes / 1e6} MB`}`,
        '2 processes',
        bytes < 1e6 ? `${(seconds * 1e6).toFixed(2)} us` : `${(bytes / seconds / 1e9).toFixed(1)} GB/s`,
      ]),
    ],
    notes: [
      `matmul: ${SIZE} x ${SIZE} x ${SIZE}, B in oneDNN's preferred layout, f32 result, 2 n^3 operations; the fastest run.`,
      `copy: ${COPY_BYTES / 1e6} MB, counted once (read and write are twice that). all-reduce: in place in shared memory, buffer bytes per second.`,
    ],
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(renderTable(limitsTable(await measureLimits(10))));
