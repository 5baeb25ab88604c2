/** Whatever becomes of one worker, the group ends within seconds and the error names it. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Cluster } from '../../src/coordinator/cluster.js';
import { MerakError } from '../../src/errors.js';
import { emptyPlan, secondsUntilGone, startEchoCluster, stepInput, workerPids } from '../coordinator/echoCluster.js';

interface Outcome {
  readonly error: MerakError;
  readonly seconds: number;
}

/** How the group died, seen from a pending run, and how long that took from `cause` on. */
async function deathOf(
  cluster: Cluster,
  executable: string,
  cause: (pids: number[]) => void = () => {},
): Promise<Outcome> {
  await cluster.open(emptyPlan(cluster.numWorkers));
  const pids = await workerPids(cluster);
  const run = cluster
    .run(executable, () => stepInput(12))
    .then(
      () => new Error('the run came through'),
      (error: unknown) => error,
    );
  await new Promise((resolve) => setTimeout(resolve, 100));
  const started = performance.now();
  cause(pids);
  const error = await run;
  if (!(error instanceof MerakError)) throw error;
  const seconds = (performance.now() - started) / 1000;
  expect(await secondsUntilGone(pids, 1)).toBeLessThan(1);
  await expect(cluster.failure).rejects.toBe(error);
  await expect(cluster.setUpdates(1)).rejects.toBe(error);
  await cluster.close();
  return { error, seconds };
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('a worker that', () => {
  it('is killed', async () => {
    const cluster = await startEchoCluster(3);
    const { error, seconds } = await deathOf(cluster, 'hang', (pids) => process.kill(pids[1]!, 'SIGKILL'));
    expect(error.code).toBe('coordinator/worker-lost');
    expect(error.summary).toMatch(/^worker rank 1 \(pid \d+\) was killed by SIGKILL during step 12 of 'hang'$/);
    expect(error.path).toMatch(/rank 1, pid \d+, host .+, log .+worker-1\.log/);
    expect(error.received).toMatch(/^last log line: open took .* ms$/);
    expect(seconds).toBeLessThan(4);
  });

  it('stalls', async () => {
    const cluster = await startEchoCluster(2, { heartbeatTimeoutSeconds: 2 });
    const { error, seconds } = await deathOf(cluster, 'hang', (pids) => process.kill(pids[0]!, 'SIGSTOP'));
    expect(error.code).toBe('coordinator/worker-lost');
    expect(error.summary).toMatch(/rank 0 .* stalled during step 12 of 'hang': no heartbeat for/);
    expect(seconds).toBeLessThan(6);
  });

  it('exits by itself', async () => {
    const { error, seconds } = await deathOf(await startEchoCluster(2), 'exit@1');
    expect(error.code).toBe('coordinator/worker-lost');
    expect(error.summary).toContain('exited with code 7');
    expect(seconds).toBeLessThan(4);
  });

  it('raises a typed error, which stays as it is', async () => {
    const { error, seconds } = await deathOf(await startEchoCluster(2), 'nan@1');
    expect(error).toMatchObject({ code: 'engine/nan-loss', summary: 'the loss is NaN' });
    expect(error.path).toMatch(/^step 3, layer dense_1 \(rank 1, pid \d+/);
    expect(seconds).toBeLessThan(4);
  });

  it('raises any other error, in a command or outside of any', async () => {
    const bug = await deathOf(await startEchoCluster(1), 'bug');
    expect(bug.error).toMatchObject({ code: 'coordinator/worker-lost', summary: 'TypeError: x is not a function' });
    const late = await deathOf(await startEchoCluster(1), 'late');
    expect(late.error.summary).toBe('RangeError: thrown outside of any command');
  });

  it('complains of a peer, whose own end is then what counts', async () => {
    const cluster = await startEchoCluster(2);
    await cluster.open(emptyPlan(2));
    const [, victim] = await workerPids(cluster);
    const complaint = cluster.run('complain@0', () => stepInput(1));
    complaint.catch(() => {});
    setTimeout(() => process.kill(victim!, 'SIGKILL'), 300);
    await expect(cluster.failure).rejects.toMatchObject({
      code: 'coordinator/worker-lost',
      summary: expect.stringContaining('worker rank 1'),
    });
  });

  it('complains of a peer that lives is believed in the end', async () => {
    const { error } = await deathOf(await startEchoCluster(2), 'complain@0');
    expect(error).toMatchObject({ code: 'comm/peer-lost', summary: 'rank 1 is gone' });
  });

  it('never answers', async () => {
    const { error, seconds } = await deathOf(await startEchoCluster(2, { stepTimeoutSeconds: -3 }), 'hang@1');
    expect(error).toMatchObject({ code: 'coordinator/timeout' });
    expect(error.summary).toMatch(/no answer to step 12 of 'hang@1' within 2 s from rank 1$/);
    expect(seconds).toBeLessThan(6);
  });

  it('only computes for long, with a blocked event loop, is left alone', async () => {
    const cluster = await startEchoCluster(1, { heartbeatTimeoutSeconds: 2 });
    await cluster.open(emptyPlan(1));
    await expect(cluster.run('block', () => stepInput(0))).resolves.toHaveLength(1);
    await cluster.close();
  });

  it('cannot make its device', async () => {
    vi.stubEnv('MERAK_TEST_REFUSE', '1');
    await expect(startEchoCluster(2)).rejects.toMatchObject({
      code: 'coordinator/worker-start',
      summary: expect.stringMatching(/rank 1 cannot use the native device: .*libdnnl\.so\.2/),
    });
  });

  it('ends before it joins', async () => {
    vi.stubEnv('NODE_OPTIONS', '--no-such-flag');
    await expect(startEchoCluster(1)).rejects.toMatchObject({
      code: 'coordinator/worker-start',
      summary: expect.stringMatching(/worker rank 0 .* exited with code 9 before it joined/),
      received: expect.stringContaining('--no-such-flag is not allowed in NODE_OPTIONS'),
    });
  });

  it('does not start in time', async () => {
    vi.stubEnv('MERAK_TEST_DAWDLE', '1');
    await expect(startEchoCluster(2, { startTimeoutSeconds: 3 })).rejects.toMatchObject({
      code: 'coordinator/worker-start',
      summary: expect.stringMatching(/^ranks? (0, )?1 not ready within 3 s$/),
    });
  });
});

it('a port in use is said before anything starts', async () => {
  const squatter = createServer().listen(0, '127.0.0.1');
  await once(squatter, 'listening');
  const address = squatter.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await expect(startEchoCluster(1, { port })).rejects.toMatchObject({ code: 'config/port-in-use' });
  squatter.close();
});
