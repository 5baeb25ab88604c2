/** A worker killed while its peers wait for it inside a collective: they raise by themselves, naming rank, operation and number. */
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, expect, it, vi } from 'vitest';
import { startCluster } from '../../src/coordinator/cluster.js';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import { ensureKernels } from '../../src/kernels/register.js';
import { buildPlan } from '../../src/planner/buildPlan.js';
import { traceModel } from '../../src/trace/trace.js';
import { stepInput } from '../coordinator/echoCluster.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

afterEach(() => {
  vi.unstubAllEnvs();
});

const [ROWS, WIDTH] = [4, 64];
/** What the issue allows. */
const LIMIT_SECONDS = 5;

function planOf() {
  const w = tf.variable(tf.randomNormal([WIDTH, WIDTH], 0, 0.1, 'float32', 1), true, 'w');
  const model = ({ x }: { x: tf.Tensor }) => tf.mean(tf.square(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D)));
  const fields = [{ name: 'x', shape: [WIDTH], dtype: 'float32' as const }];
  const train = optimizeGraph(traceModel(model as never, 'train', fields, ROWS).graph);
  w.dispose();
  return buildPlan({ train, mesh: { dp: 2, tp: 1, pp: 1 }, optimizer: { kind: 'sgd' }, microBatchSize: ROWS });
}

interface Entry {
  readonly msg: string;
  readonly time: string;
  readonly pid: number;
}

const entriesOf = (file: string): Entry[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Entry] : []));

/** The log of the worker that joined as `rank`, wherever below the folder it is. */
function logOf(folder: string, rank: number): Entry[] {
  const logs = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.log'))
    .map((name) => entriesOf(join(folder, name)));
  return logs.find((entries) => entries.some(({ msg }) => msg.startsWith(`joined as rank ${rank} `))) ?? [];
}

it('the peers of a killed worker name it, the operation and its sequence number; so does the group', async () => {
  vi.stubEnv('MERAK_DEVICE_MODULE', '');
  const logDirectory = mkdtempSync(join(tmpdir(), 'merak-test-'));
  const cluster = await startCluster({
    numWorkers: 2,
    device: 'native',
    threadsPerWorker: 1,
    logDirectory,
    log: () => {},
  });
  cluster.failure.catch(() => {});
  const inputs = new Map([['x', new Float32Array(ROWS * WIDTH).fill(0.5)]]);
  const step = (number: number) => cluster.run('train', () => stepInput(number, inputs));
  try {
    await cluster.open(planOf());
    await step(0);
    const { pid } = logOf(logDirectory, 1)[0]!;
    // Stopped, so that the other is sure to be inside its all-reduce when it dies.
    process.kill(pid, 'SIGSTOP');
    const failed = step(1).then(
      () => undefined,
      (error: unknown) => error,
    );
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const killed = Date.now();
    process.kill(pid, 'SIGKILL');
    expect(await failed).toMatchObject({ code: 'coordinator/worker-lost', summary: expect.stringContaining('rank 1') });
    await vi.waitFor(
      () => {
        const complaint = logOf(logDirectory, 0).find(({ msg }) => msg.includes('waits for rank 1'));
        expect(complaint?.msg).toMatch(
          /rank 0 waits for rank 1 in all-reduce of group dp \[0,1\], sequence number \d+: (its process \d+ has ended|aborted)/,
        );
        // A bound on when the error comes, not on how fast anything runs.
        expect(Date.parse(complaint!.time) - killed).toBeLessThan(LIMIT_SECONDS * 1000);
      },
      { timeout: 15_000, interval: 100 },
    );
  } finally {
    await cluster.close();
  }
});
