/** A group whose worker dies ends with a typed error, in the middle of a call or between two. */
import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import * as merak from '../../../src/index.js';
import { secondsUntilGone } from '../../coordinator/echoCluster.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

/** Processes this one has started. */
function children(): number[] {
  return readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .map(Number);
}

async function openGroup() {
  const before = new Set(children());
  const group = await merak.spmd({ workers: 2, threadsPerWorker: 1, logDir: 'runs/test' });
  const size = 512;
  const x = group.state('x', { initial: tf.fill([size, size], 1 / size), placement: merak.shard(0) });
  const multiply = group.jit((times: number) => {
    let y = x.value as tf.Tensor2D;
    for (let i = 0; i < times; i++) y = tf.matMul(y, merak.nn.allGather(y));
    x.value.assign(y);
    return merak.nn.allReduce(y.sum());
  });
  expect((await multiply(1)).arraySync()).toBeCloseTo(size, 1);
  const pids = children().filter((pid) => !before.has(pid));
  expect(pids).toHaveLength(2);
  return { group, x, multiply, pids };
}

type Opened = Awaited<ReturnType<typeof openGroup>>;

async function expectEnd({ group, x, multiply, pids }: Opened, call: Promise<unknown>): Promise<void> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(merak.MerakError);
  expect(error).toMatchObject({ code: 'coordinator/worker-lost' });
  expect((error as merak.MerakError).summary).toMatch(/^worker rank [01] \(pid \d+\) was killed by SIGKILL/);
  await expect(multiply(1)).rejects.toBe(error);
  await expect(x.read()).rejects.toBe(error);
  expect(await secondsUntilGone(pids, 5)).toBeLessThan(5);
  await group.close();
}

it('killed in the middle of a call', async () => {
  const opened = await openGroup();
  const call = opened.multiply(400);
  call.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 300));
  process.kill(opened.pids[1]!, 'SIGKILL');
  await expectEnd(opened, call);
});

it('killed between two calls', async () => {
  const opened = await openGroup();
  process.kill(opened.pids[0]!, 'SIGKILL');
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await expectEnd(opened, opened.multiply(1));
});

it('closed: later calls say so, and those made before still end well', async () => {
  const { group, multiply } = await openGroup();
  const last = multiply(1);
  await group.close();
  expect((await last).arraySync()).toBeCloseTo(512, 1);
  await expect(multiply(1)).rejects.toMatchObject({ code: 'coordinator/protocol' });
  await group.close();
});
