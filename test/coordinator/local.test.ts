/** The group of one rank inside this process behaves as the one of processes does. */
import { expect, it, vi } from 'vitest';
import { localCluster } from '../../src/coordinator/local.js';
import { ECHO_DEVICE, emptyPlan, executable, stepInput } from './echoCluster.js';

it('opens, runs, stores, and dies of its first error', async () => {
  vi.stubEnv('MERAK_DEVICE_MODULE', ECHO_DEVICE);
  const cluster = localCluster({ device: 'native', threadsPerWorker: 1 });
  await expect(cluster.open(emptyPlan(2))).rejects.toMatchObject({ code: 'config/degrees' });
  await cluster.open(emptyPlan(1));
  await cluster.load([executable('more')]);
  await cluster.setUpdates(3);
  expect(await cluster.measuredBytes()).toMatchObject([{ connected: 3, updates: 3 }]);
  await cluster.write(0, 2, 'value', Float32Array.of(4));
  expect(await cluster.read(0, 2, 'value')).toEqual(Float32Array.of(4));
  const runs = [cluster.run('slow', () => stepInput(1)), cluster.run('train', () => stepInput(2))];
  expect((await Promise.all(runs)).map(([result]) => result?.metrics.loss)).toEqual([1, 2]);
  const error = await cluster.run('nan', () => stepInput(3)).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'engine/nan-loss' });
  await expect(cluster.failure).rejects.toBe(error);
  await expect(cluster.setUpdates(1)).rejects.toBe(error);
  await cluster.close();
});
