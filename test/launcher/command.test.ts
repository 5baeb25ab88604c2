/** The command line: flags from the schema, what is Merak's and what the script's, and its complaints. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { LaunchContext } from '../../src/config/launch.js';
import { optionsSchema } from '../../src/config/schema.js';
import { MerakError } from '../../src/errors.js';
import { complaint } from '../../src/launcher/complain.js';
import { flagOf } from '../../src/launcher/flags.js';
import { main, merakCommand } from '../../src/launcher/main.js';
import { scriptResources } from '../../src/launcher/settle.js';

interface ScriptRun {
  readonly args: readonly string[];
  readonly context: LaunchContext;
}

const runs = vi.hoisted((): unknown[][] => []);
vi.mock('../../src/launcher/runScript.js', () => ({ runScript: async (...args: unknown[]) => void runs.push(args) }));

async function run(...argv: string[]): Promise<ScriptRun> {
  runs.length = 0;
  await merakCommand()
    .exitOverride()
    .parseAsync(['node', 'merak', ...argv]);
  const [script, args, context] = runs[0] as [string, string[], LaunchContext];
  expect(script).toBe('train.ts');
  return { args, context };
}

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

describe('flags', () => {
  it('are those of the schema', () => {
    const launch = merakCommand().commands.find((command) => command.name() === 'launch');
    expect(launch?.options.map(({ long }) => long)).toEqual(Object.keys(optionsSchema.shape).map(flagOf));
    expect(flagOf('threadsPerWorker')).toBe('--threads-per-worker');
  });

  it('may stand before and behind the script; the rest is the script’s', async () => {
    expect(await run('launch', '--dp', '2', 'train.ts', '--epochs', '3', '--micro-batches=4', 'data.txt')).toEqual({
      args: ['--epochs', '3', 'data.txt'],
      context: { mode: 'launch', flags: { dp: 2, microBatches: 4 } },
    });
    expect(await run('verify', 'train.ts', '--pp', '2', '--schedule', 'scp', '--steps', '5')).toEqual({
      args: [],
      context: { mode: 'verify', flags: { pp: 2, schedule: 'scp' }, verifySteps: 5 },
    });
  });

  it('after -- are the script’s', async () => {
    const { args, context } = await run('plan', 'train.ts', '--tp', '2', '--', '--dp', '8');
    const planning = { cluster: undefined, show: expect.any(Function) };
    expect({ args, context }).toEqual({ args: ['--dp', '8'], context: { mode: 'plan', flags: { tp: 2 }, planning } });
  });

  it.each([
    [['launch', '--dpp', '2', 'train.ts'], { code: 'config/unknown-key', hint: "did you mean '--dp'?" }],
    [['launch', '--dp', 'two', 'train.ts'], { code: 'config/invalid', received: 'two' }],
    [['launch', '--dp', '0', 'train.ts'], { code: 'config/invalid', path: 'command line: dp' }],
    [['launch', '--schedule', '1f2b', 'train.ts'], { code: 'config/invalid', received: '"1f2b"' }],
    [['verify', '--steps', '0', 'train.ts'], { code: 'config/invalid', received: '0' }],
    [['plan'], { code: 'config/invalid', hint: 'name a script, or --model gpt:1.5b' }],
    [['plan', 'train.ts', '--sequence', '128'], { code: 'config/invalid', path: 'command line: --sequence' }],
    [['plan', '--model', 'gpt:1.5b'], { code: 'config/invalid', path: 'command line: --cluster' }],
    [
      ['plan', '--model', 'gpt:15b', '--cluster', '8:h100'],
      { code: 'config/invalid', hint: "did you mean 'gpt:1.5b'?" },
    ],
    [['plan', '--model', 'gpt:20b', '--cluster', '8:h10'], { hint: expect.stringContaining("did you mean 'h100'") }],
    [['plan', '--model', 'gpt:20b', '--cluster', '8:h100', '--global-batch', '0'], { received: '0' }],
  ])('%j is refused', async (argv, expected) => {
    await expect(run(...argv)).rejects.toMatchObject(expected);
  });
});

describe('a complaint', () => {
  it('shows the stack of everything but a MerakError', () => {
    const error = new MerakError('config/batch', 'odd batch', { hint: 'even it' });
    expect(complaint(error)).toBe('[config/batch] odd batch\n  hint: even it');
    expect(complaint(new RangeError('oops'))).toMatch(/^RangeError: oops\n\s+at /);
    expect(complaint('text')).toBe('text');
  });
});

it('what the script itself keeps open is told from the sockets of its workers', () => {
  const ours = ['TCPServerWrap', ...Array<string>(4).fill('TCPSocketWrap'), 'PipeWrap', 'TTYWrap'];
  expect(scriptResources(ours, 2, 1)).toEqual([]);
  expect(scriptResources([...ours, 'TCPSocketWrap', 'Timeout', 'FSReqPromise'], 2, 1)).toEqual([
    'TCPSocketWrap',
    'Timeout',
    'FSReqPromise',
  ]);
});

it('doctor reports what is here', async () => {
  const printed: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
  const report = join(mkdtempSync(join(tmpdir(), 'merak-test-')), 'report.json');
  const code = await main(['node', 'merak', 'doctor', '--report', report]);
  const { findings }: { findings: { name: string; status: string; hint?: string }[] } = JSON.parse(
    readFileSync(report, 'utf8'),
  );
  expect(findings.find(({ name }) => name === 'node')?.status).toBe('ok');
  expect(findings.find(({ name }) => name === 'tfjs')?.status).toBe('ok');
  expect(code).toBe(findings.some(({ status }) => status === 'missing') ? 1 : 0);
  expect(findings.filter(({ status, hint }) => status === 'missing' && hint === undefined)).toEqual([]);
  expect(printed.join('')).toMatch(/NCCL/);
});
