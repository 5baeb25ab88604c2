/** Real plans of a small GPT on real workers: every device and layout follows one tfjs device in this process. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, expect, it, vi } from 'vitest';
import { type Cluster, type ClusterOptions, startCluster } from '../../src/coordinator/cluster.js';
import { localCluster } from '../../src/coordinator/local.js';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import { ensureKernels } from '../../src/kernels/register.js';
import { gpt } from '../../src/models/gpt.js';
import type { Plan } from '../../src/plan/plan.js';
import { buildPlan, type PlanInput } from '../../src/planner/buildPlan.js';
import { sliceParameter } from '../../src/tensorparallel/shards.js';
import { traceModel } from '../../src/trace/trace.js';
import { stepInput } from './echoCluster.js';

const [BATCH, LENGTH, VOCABULARY] = [4, 6, 13];
const tokens = Int32Array.from({ length: BATCH * LENGTH }, (_, i) => (i * i * 7 + i) % VOCABULARY);
const targets = Int32Array.from({ length: BATCH * LENGTH }, (_, i) => (i * 5 + 2) % VOCABULARY);

function planFor(layout: Pick<PlanInput, 'mesh' | 'numMicroBatches'>): {
  plan: Plan;
  values: Map<string, Float32Array>;
} {
  const model = gpt({
    vocabularySize: VOCABULARY,
    contextLength: LENGTH,
    numLayers: 2,
    numHeads: 2,
    hiddenSize: 8,
    seed: 3,
  });
  const fields = ['tokens', 'targets'].map((name) => ({ name, shape: [LENGTH], dtype: 'int32' as const }));
  const microBatchSize = BATCH / (layout.mesh?.dp ?? 1) / (layout.numMicroBatches ?? 1);
  const { graph, variables } = traceModel(model, 'train', fields, microBatchSize);
  const values = new Map(
    graph.parameters.map(({ name }, i) => [name, variables[i]!.dataSync().slice() as Float32Array]),
  );
  const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 } as const;
  const plan = buildPlan({ train: optimizeGraph(graph), optimizer, clipNorm: 0, seed: 5, microBatchSize, ...layout });
  return { plan, values };
}

/** Losses of three steps. */
async function losses(cluster: Cluster, { plan, values }: ReturnType<typeof planFor>): Promise<number[]> {
  try {
    await cluster.open(plan);
    const writes = plan.ranks.flatMap(({ rank, coordinates, parameters }) =>
      parameters.map(({ name, parameter }, index) => {
        const { shape, layout } = plan.parameters[parameter]!;
        const shard = sliceParameter(values.get(name)!, shape, layout, plan.mesh.tp, coordinates.tp);
        return cluster.write(rank, index, 'value', shard);
      }),
    );
    await Promise.all(writes);
    const share = (whole: Int32Array, rank: number): Int32Array => {
      const length = whole.length / plan.mesh.dp;
      const { dp } = plan.ranks[rank]!.coordinates;
      return whole.slice(dp * length, (dp + 1) * length);
    };
    const steps = [0, 1, 2].map((step) =>
      cluster.run('train', (rank) =>
        stepInput(
          step,
          new Map([
            ['tokens', share(tokens, rank)],
            ['targets', share(targets, rank)],
          ]),
        ),
      ),
    );
    return (await Promise.all(steps)).map((results) => results.find(({ metrics }) => 'loss' in metrics)!.metrics.loss!);
  } finally {
    await cluster.close();
  }
}

afterEach(() => {
  vi.unstubAllEnvs();
});

let reference: number[];
beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
  reference = await losses(
    localCluster({ device: 'tfjs', threadsPerWorker: 1 }),
    planFor({ mesh: { dp: 1, tp: 1, pp: 1 } }),
  );
});

const start = (device: ClusterOptions['device']): Promise<Cluster> =>
  startCluster({
    numWorkers: 2,
    device,
    threadsPerWorker: 1,
    logDirectory: mkdtempSync(join(tmpdir(), 'merak-test-')),
    log: () => {},
  });

it.each([
  ['tfjs', { dp: 1, tp: 2, pp: 1 }],
  ['tfjs without the addon', { dp: 1, tp: 1, pp: 2 }],
  ['native', { dp: 2, tp: 1, pp: 1 }],
] as const)('two workers, %s, as %j', async (kind, mesh) => {
  const device = kind === 'native' ? 'native' : 'tfjs';
  if (kind === 'tfjs without the addon') vi.stubEnv('MERAK_ADDON', '/nonexistent'); // The coordinator relays.
  vi.stubEnv('MERAK_DEVICE_MODULE', '');
  const found = await losses(await start(device), planFor({ mesh, numMicroBatches: 2 }));
  expect(found).toHaveLength(3);
  for (const [step, loss] of found.entries()) expect(Math.abs(loss / reference[step]! - 1)).toBeLessThan(1e-5);
});
