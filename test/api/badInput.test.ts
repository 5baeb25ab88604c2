/** Bad input ends in a typed error that says what, where and what to do, within seconds, and leaves nothing running. */
import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LIMIT_SECONDS = 10;

interface Outcome {
  readonly code: number | null;
  readonly output: string;
  readonly seconds: number;
  readonly marker: string;
}

/** Runs `merak` from the sources; every process it starts inherits the marker in its environment. */
function merak(args: readonly string[], environment: Record<string, string> = {}): Promise<Outcome> {
  const marker = `bad-input-${process.pid}-${Math.random().toString(36).slice(2)}`;
  const began = performance.now();
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', 'test/launcher/cli.ts', ...args, '--log-dir', 'runs/test'],
    {
      cwd: ROOT,
      env: { ...process.env, ...environment, MERAK_TEST_MARKER: marker },
    },
  );
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code, output, seconds: (performance.now() - began) / 1000, marker }));
  });
}

/** Processes still carrying the marker. */
function survivors(marker: string): string {
  const { stdout } = spawnSync('sh', [
    '-c',
    `grep -lz 'MERAK_TEST_MARKER=${marker}' /proc/[0-9]*/environ 2>/dev/null || true`,
  ]);
  return stdout.toString().trim();
}

async function expectError(
  args: readonly string[],
  texts: readonly (string | RegExp)[],
  environment: Record<string, string> = {},
) {
  const outcome = await merak(args, environment);
  for (const text of texts) expect(outcome.output).toMatch(text);
  expect(outcome.code).not.toBe(0);
  expect(outcome.output, 'a typed error shows no stack').not.toMatch(/\n\s+at .*\(.*:\d+:\d+\)/);
  expect(outcome.seconds).toBeLessThan(LIMIT_SECONDS);
  expect(survivors(outcome.marker)).toBe('');
}

const PLAIN = 'test/api/scripts/plain.ts';

describe('bad input', () => {
  it('degrees that do not multiply to the workers', () =>
    expectError(
      ['launch', PLAIN, '--workers', '4', '--dp', '3'],
      [/config\/degrees/, /expected: 4 workers/, /--workers 3/],
    ));

  it('more stages than shards', () =>
    expectError(['launch', PLAIN, '--pp', '9'], [/plan\/too-many-stages/, /received: 9/, /use --pp \d or less/]));

  it('a batch that does not divide', () =>
    expectError(['launch', PLAIN, '--dp', '3'], [/config\/batch/, /a multiple of 3/, /received: 8/]));

  it('micro-batches that do not divide', () =>
    expectError(['launch', PLAIN, '--micro-batches', '3'], [/config\/batch/, /--micro-batches may be 1, 2, 4, 8/]));

  it('a model that reads a value while it is traced', () =>
    expectError(['launch', 'test/api/scripts/reads.ts', '--dp', '2'], [/trace\/data-read/, /reads\.ts:9/]));

  it('a loss that is NaN names step, rank and the first op', () =>
    expectError(['launch', 'test/api/scripts/nan.ts', '--dp', '2'], [/engine\/nan-loss/, /step 3/, /rank \d/, /Log/]));

  it('a script that throws shows its own error', async () => {
    const { code, output, seconds, marker } = await merak(['launch', PLAIN, '--dp', '2', '--', 'throw']);
    expect(output).toMatch(/RangeError: the script of the user failed/);
    expect(code).not.toBe(0);
    expect(seconds).toBeLessThan(LIMIT_SECONDS);
    expect(survivors(marker)).toBe('');
  });

  it('a port in use', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    await expectError(
      ['launch', PLAIN, '--dp', '2', '--port', String(port)],
      [/config\/port-in-use/, new RegExp(String(port))],
    );
    server.close();
  });

  it('a worker that cannot load the addon', () =>
    expectError(
      ['launch', PLAIN, '--dp', '2', '--device', 'native'],
      [/engine\/unsupported|coordinator\/worker-start/, /merak\.node/],
      {
        MERAK_ADDON: '/nowhere/merak.node',
      },
    ));

  it('not enough memory for the plan, said before start', () =>
    expectError(
      ['launch', PLAIN, '--dp', '2', '--memory-limit', '1000'],
      [/plan\/out-of-memory/, /rank \d/, /at most 1\.0 kB/],
    ));

  it('an unknown flag, with a suggestion', () =>
    expectError(['launch', '--micro-batchs', '2', PLAIN], [/config\/unknown-key/, /did you mean '--micro-batches'/]));

  it('an unknown option of wrap, with a suggestion', () =>
    expectError(['launch', 'test/api/scripts/unknownOption.ts'], [/config\/unknown-key/, /did you mean 'clipNorm'/]));
});
