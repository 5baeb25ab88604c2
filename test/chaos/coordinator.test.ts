/** However the coordinator ends, none of its workers outlives it by more than seconds. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { ECHO_DEVICE, isAlive, secondsUntilGone } from '../coordinator/echoCluster.js';

const SCRIPT = fileURLToPath(new URL('./fixtures/trains.ts', import.meta.url));
const MERAK = fileURLToPath(new URL('./fixtures/merak.ts', import.meta.url));

interface Launched {
  readonly process: ChildProcess;
  readonly pids: readonly number[];
  /** Resolves when the process has ended. */
  readonly ended: Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>;
}

const launched: ChildProcess[] = [];
afterEach(() => {
  for (const child of launched.splice(0)) child.kill('SIGKILL');
});

async function launch(behaviour: string): Promise<Launched> {
  const child = spawn(process.execPath, ['--import', 'tsx', MERAK, 'launch', SCRIPT, behaviour], {
    env: { ...process.env, MERAK_DEVICE_MODULE: ECHO_DEVICE },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  launched.push(child);
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].on('data', (data) => {
      said[stream] += data;
    });
  }
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, ...said }));
  const [line] = await Promise.race([once(createInterface(child.stdout), 'line'), ended.then(() => ['{"pids":[]}'])]);
  const { pids }: { pids: number[] } = JSON.parse(line);
  return { process: child, pids, ended };
}

describe('the workers are gone within seconds after', () => {
  it.each([
    ['SIGKILL of the coordinator', 'hang', 'SIGKILL', { signal: 'SIGKILL' }],
    ['Ctrl-C', 'hang', 'SIGINT', { code: 130 }],
    ['SIGTERM of the coordinator', 'hang', 'SIGTERM', { code: 143 }],
    ['SIGKILL of the coordinator while their event loops are blocked', 'block', 'SIGKILL', { signal: 'SIGKILL' }],
  ] as const)('%s', async (_, behaviour, signal, expected) => {
    const { process: child, pids, ended } = await launch(behaviour);
    expect(pids.filter(isAlive)).toHaveLength(2);
    await new Promise((resolve) => setTimeout(resolve, 200));
    child.kill(signal);
    expect(await ended).toMatchObject(expected);
    expect(await secondsUntilGone(pids)).toBeLessThan(3);
  });

  it('SIGKILL of the coordinator, even of a worker that is stopped', async () => {
    const { process: child, pids, ended } = await launch('hang');
    process.kill(pids[1]!, 'SIGSTOP');
    child.kill('SIGKILL');
    await ended;
    expect(await secondsUntilGone(pids)).toBeLessThan(3);
  });

  it("a second Ctrl-C, when the script's own handler does not end it", async () => {
    const { process: child, pids, ended } = await launch('handler');
    child.kill('SIGINT');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(pids.filter(isAlive)).toHaveLength(2);
    child.kill('SIGINT');
    expect(await ended).toMatchObject({ code: 130, stdout: expect.stringContaining('the script saw it') });
    expect(await secondsUntilGone(pids)).toBeLessThan(3);
  });

  it.each([
    [
      'an exception in the script',
      'throw',
      { code: 1, stderr: expect.stringMatching(/TypeError: the user's own mistake\n\s+at .*trains\.ts/) },
    ],
    [
      'a rejection nobody handles',
      'reject',
      { code: 1, stderr: expect.stringContaining('Error: nobody handles this') },
    ],
    ['process.exit in the script', 'exit', { code: 3 }],
    ["the script's end, without closing them", 'forget', { code: 0, stdout: expect.stringContaining('last timer') }],
    [
      'a typed error, which is told without a stack',
      'nan',
      {
        code: 1,
        stderr: expect.stringMatching(/^\[engine\/nan-loss\] the loss is NaN\n {2}at: step 3, .*rank 1.*\n$/),
      },
    ],
  ])('%s', async (_, behaviour, expected) => {
    const { pids, ended } = await launch(behaviour);
    expect(pids).toHaveLength(2);
    expect(await ended).toMatchObject(expected);
    expect(await secondsUntilGone(pids)).toBeLessThan(1);
  });
});
