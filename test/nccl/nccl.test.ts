/** merak/nccl with 1, 2 and 4 processes on the stand-in libraries: results, limits, refusals. */
import { execFileSync, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { addonPath } from '../../src/runtime/native/addon.js';
import { ALL, standInEnvironment } from '../standin/build.js';

interface Line {
  readonly result?: unknown;
  readonly code?: string;
  readonly message?: string;
}

const script = fileURLToPath(new URL('rank.ts', import.meta.url));
const COUNT = 30_001;
const LIMIT = 120_000;

function uniqueId(env: NodeJS.ProcessEnv): string {
  const code = 'console.log(Buffer.from(require(process.argv[1]).ncclUniqueId()).toString("hex"))';
  return execFileSync(process.execPath, ['-e', code, addonPath()], { env, encoding: 'utf8' }).trim();
}

/** What each rank printed; undefined for one that was killed. */
async function ranks(what: string, numRanks: number, more: NodeJS.ProcessEnv = {}): Promise<(Line | undefined)[]> {
  const env = { ...standInEnvironment(ALL), MERAK_STANDIN_DEVICES: `${numRanks}`, ...more };
  const id = uniqueId(env);
  return Promise.all(
    Array.from({ length: numRanks }, async (_, rank) => {
      const args = ['--import', 'tsx', script, what, `${rank}`, `${numRanks}`, id];
      const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
      let printed = '';
      child.stdout.on('data', (data) => {
        printed += data;
      });
      await new Promise((resolve) => child.on('close', resolve));
      return printed === '' ? undefined : (JSON.parse(printed) as Line);
    }),
  );
}

const valueAt = (owner: number, i: number): number => ((i * 31 + owner * 17) % 101) - 50;
const digest = (length: number, at: (i: number) => number): number => {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += at(i) * ((i % 97) + 1);
  return sum;
};

describe('merak/nccl', () => {
  test(
    'what it takes of the card, beside what plans count',
    async () => {
      const taken = 32 * 14 * 2 ** 20; // the stand-in's
      for (const line of await ranks('memory', 2))
        expect(line?.result).toEqual({ joined: taken, summed: taken, sent: taken, planned: taken + 8 * 2 ** 20 });
    },
    LIMIT,
  );

  test.each([1, 2, 4])(
    'every collective, %i rank(s)',
    async (numRanks) => {
      const owners = Array.from({ length: numRanks }, (_, rank) => rank);
      const lines = await ranks('collectives', numRanks);
      const sumOf = (i: number): number => owners.reduce((sum, owner) => sum + valueAt(owner, i), 0);
      for (const line of lines) {
        expect(line?.result).toEqual({
          gathered: digest(COUNT * numRanks, (i) => valueAt(Math.floor(i / COUNT), i % COUNT)),
          // Everybody brought the same gathered values: each keeps its own part numRanks times.
          scattered: digest(COUNT, (i) => numRanks * valueAt(lines.indexOf(line), i)),
          sum: digest(COUNT, sumOf),
          max: digest(COUNT, (i) => Math.max(...owners.map((owner) => valueAt(owner, i)))),
          broadcast: digest(COUNT, (i) => valueAt(numRanks - 1, i)),
        });
      }
    },
    LIMIT,
  );

  test(
    'sends and receives of one group make progress together',
    async () => {
      const lines = await ranks('ring', 4);
      expect(lines.map((line) => line?.result)).toEqual(
        [3, 0, 1, 2].map((sender) => digest(COUNT, (i) => valueAt(sender, i))),
      );
    },
    LIMIT,
  );

  test(
    'a killed peer ends the wait with the operation and its sequence number',
    async () => {
      const [survivor, killed] = await ranks('absent', 2);
      expect(killed).toBeUndefined();
      expect(survivor?.code).toBe('comm/timeout');
      expect(survivor?.message).toContain('rank 0 of 2 waits in all-reduce, sequence number 1');
    },
    LIMIT,
  );

  test(
    'abort ends a wait',
    async () => {
      const [aborted] = await ranks('abort', 2);
      expect(aborted?.code).toBe('comm/aborted');
      expect(aborted?.message).toContain('the test wants it so');
    },
    LIMIT,
  );

  test(
    'an asynchronous error is told, on the rank that has it',
    async () => {
      const lines = await ranks('absent', 1, { MERAK_STANDIN_NCCL_ERROR: '0:1' });
      expect(lines[0]?.code).toBe('comm/peer-lost');
      expect(lines[0]?.message).toContain('unhandled system error');
    },
    LIMIT,
  );

  test(
    'two ranks on one GPU are refused, in NCCL’s words',
    async () => {
      const lines = await ranks('ring', 2, { SAME_DEVICE: '0' });
      for (const line of lines) {
        expect(line?.code).toBe('engine/cuda');
        expect(line?.message).toContain('Duplicate GPU detected');
      }
    },
    LIMIT,
  );

  test(
    'a device that is not there',
    async () => {
      const [line] = await ranks('ring', 1, { SAME_DEVICE: '5' });
      expect(line?.code).toBe('engine/no-gpu');
    },
    LIMIT,
  );
});
