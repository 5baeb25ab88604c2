/** The engine's communicators of device memory, NCCL and staged, with 1, 2 and 4 processes on the stand-in libraries. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { ALL, builtProgram, standInEnvironment } from '../standin/build.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const native = join(root, 'native');
const LIMIT = 240_000;

/** The communicators' own sources and nothing of the engine: the program brings what they need of a device. */
const SOURCES = [
  ...['arena', 'futex', 'reduce', 'shm', 'shm_channels', 'shm_collectives', 'staged'].map((name) => `comm/${name}.cpp`),
  ...['nccl_capture', 'nccl_communicator', 'nccl_watch', 'staged_device'].map((name) => `comm/gpu/${name}.cpp`),
  ...['captured', 'library', 'driver', 'nccl', 'nccl_comm'].map((name) => `cuda/${name}.cpp`),
].map((name) => join(native, name));

let program = '';
beforeAll(() => {
  const main = join(root, 'test/nccl/communicator.cpp');
  const headers = ['comm', 'comm/gpu', 'cuda'].flatMap((folder) =>
    readdirSync(join(native, folder))
      .filter((name) => name.endsWith('.h'))
      .map((name) => join(native, folder, name)),
  );
  program = builtProgram('communicator', [main, ...SOURCES], [main, ...SOURCES, ...headers]);
}, LIMIT);

/** What each rank said, by rank; '' for one that said nothing. */
function run(kind: string, scenario: string, numRanks: number, more: NodeJS.ProcessEnv = {}): string[] {
  const env = { ...standInEnvironment(ALL), MERAK_STANDIN_DEVICES: `${numRanks}`, ...more };
  const printed = execFileSync(program, [kind, scenario, `${numRanks}`], { env, encoding: 'utf8', timeout: 120_000 });
  const lines = printed.split('\n');
  return Array.from({ length: numRanks }, (_, rank) => {
    const line = lines.find((text) => text.startsWith(`${rank} `)) ?? '';
    return line.slice(`${rank} `.length);
  });
}

test.each([
  ['nccl', 1],
  ['nccl', 2],
  ['nccl', 4],
  ['staged', 1],
  ['staged', 2],
  ['staged', 4],
])(
  '%s with %i rank(s): every collective and crossing messages',
  (kind, numRanks) => {
    expect(run(kind, 'all', numRanks)).toEqual(Array.from({ length: numRanks }, () => 'ok'));
  },
  LIMIT,
);

test.each([2, 3])(
  'in a CUDA graph with %i ranks: collectives and crossing messages, launched again and again',
  (numRanks) => {
    expect(run('nccl', 'graph', numRanks)).toEqual(Array.from({ length: numRanks }, () => 'ok'));
  },
  LIMIT,
);

test(
  'communicators use as many channels, and so take as much of the card, as plans count',
  () => {
    expect(run('nccl', 'memory', 2)).toEqual(['ok', 'ok']);
  },
  LIMIT,
);

test(
  'in a CUDA graph: a killed rank is named, with the last of the calls that wait for it',
  () => {
    const [first, killed, last] = run('nccl', 'graph killed', 3);
    expect(killed).toBe('');
    for (const line of [first, last]) {
      expect(line).toMatch(
        /^comm\/(peer-lost|timeout): \(\d\) rank \d waits for rank \d in all-gather of group dp \[0,1,2\]/,
      );
      expect(line).toContain('sequence number 12');
    }
    expect(`${first}${last}`).toContain(
      'waits for rank 1 in all-gather of group dp [0,1,2], sequence number 12: its process has ended',
    );
  },
  LIMIT,
);

test(
  'in a CUDA graph: an asynchronous error ends the wait',
  () => {
    // Of the communicator of all: three calls a step; the fourth step's first.
    const [failed] = run('nccl', 'graph', 2, { MERAK_STANDIN_NCCL_ERROR: '0:10' });
    expect(failed).toMatch(/^comm\/peer-lost: .*NCCL: unhandled system error$/);
  },
  LIMIT,
);

test(
  'in a CUDA graph: streams that nobody joins are an error',
  () => {
    expect(run('nccl', 'graph unjoined', 2)).toEqual(
      Array.from({ length: 2 }, () => expect.stringContaining('CUDA_ERROR_STREAM_CAPTURE_UNJOINED')),
    );
  },
  LIMIT,
);

test(
  'in a CUDA graph: not of a version whose queue of work leaks',
  () => {
    expect(run('nccl', 'graph', 2, { MERAK_STANDIN_NCCL_VERSION: '22105' })).toEqual(
      Array.from({ length: 2 }, () => 'wrong: not agreed'),
    );
  },
  LIMIT,
);

test.each(['nccl', 'staged'])(
  '%s: a killed rank is named by the survivors, with the operation and its sequence number',
  (kind) => {
    const [first, killed, ...others] = run(kind, 'killed', 4);
    expect(killed).toBe('');
    for (const line of [first, ...others]) {
      expect(line).toMatch(
        /^comm\/(peer-lost|timeout): \(\d\) rank \d waits for rank \d in all-reduce of group dp \[0,1,2,3\]/,
      );
      expect(line).toContain('sequence number 3');
    }
    expect(first).toContain('waits for rank 1 ');
    expect(first).toContain('has ended');
  },
  LIMIT,
);

test.each([
  ['nccl', 'stalled', 'all-reduce', 3],
  ['staged', 'stalled', 'all-reduce', 3],
  // The last call of a graph's fourth launch.
  ['nccl', 'graph stalled', 'all-gather', 12],
] as const)(
  '%s, %s: the rank is named once the time is up',
  (kind, what, operation, number) => {
    const [first] = run(kind, what, 2);
    const [begin, end] = [
      `rank 0 waits for rank 1 in ${operation} `,
      ` sequence number ${number}: no answer within 1.5 s`,
    ];
    expect(first).toMatch(new RegExp(`^comm/timeout: \\(1\\) ${begin}.*${end.replaceAll('.', '\\.')}$`));
  },
  LIMIT,
);

test(
  'nccl: an asynchronous error ends the wait',
  () => {
    const [failed] = run('nccl', 'failing', 2, { MERAK_STANDIN_NCCL_ERROR: '0:2' });
    expect(failed).toMatch(/^comm\/peer-lost: .*sequence number 2: NCCL: unhandled system error$/);
  },
  LIMIT,
);
