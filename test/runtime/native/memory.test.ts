/** What the plan says a rank takes is what its engine takes, arenas, kernel scratch and packed weights, within 2 %. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import { gpt } from '../../../src/models/gpt.js';
import { rankMemory } from '../../../src/plan/memoryReport.js';
import type { Plan } from '../../../src/plan/plan.js';
import { buildPlan, type PlanInput } from '../../../src/planner/buildPlan.js';
import type { ArenaHandle } from '../../../src/runtime/device.js';
import { NativeDevice } from '../../../src/runtime/native/device.js';
import { nativeWorkspace } from '../../../src/runtime/native/workspace.js';
import { traceModel } from '../../../src/trace/trace.js';

beforeAll(async () => {
  // Memory made ahead would be there whether a program uses it or not.
  vi.stubEnv('MERAK_MEMORY_AHEAD', 'off');
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const [BATCH, LENGTH, VOCABULARY] = [8, 64, 96];

type Layout = Pick<PlanInput, 'mesh' | 'numMicroBatches' | 'schedule' | 'precision' | 'recompute' | 'memoryLimitBytes'>;

function planOf(layout: Layout, numLayers = 4, vocabularySize = VOCABULARY): Plan {
  const user = gpt({
    vocabularySize,
    contextLength: LENGTH,
    numLayers,
    numHeads: 4,
    hiddenSize: 192,
    dropout: 0,
    seed: 3,
  });
  const fields = (['tokens', 'targets'] as const).map((name) => ({ name, shape: [LENGTH], dtype: 'int32' as const }));
  const microBatchSize = BATCH / (layout.mesh?.dp ?? 1) / (layout.numMicroBatches ?? 1);
  const { graph } = traceModel(user, 'train', fields, microBatchSize);
  const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 } as const;
  user.dispose();
  return buildPlan({
    train: optimizeGraph(graph),
    optimizer,
    microBatchSize,
    workspaceOf: nativeWorkspace(2),
    ...layout,
  });
}

/** Bytes of every rank after a training step, or before. */
async function measure(plan: Plan, runs = true): Promise<number[]> {
  const devices = plan.ranks.map(() => new NativeDevice({ threads: 2 }));
  const handles: ArenaHandle[] = [];
  for (const [rank, device] of devices.entries()) {
    const rankPlan = plan.ranks[rank]!;
    handles.push(...(await device.open(rankPlan)));
    for (const executable of rankPlan.executables) handles.push(...(await device.load(executable)));
  }
  for (const device of devices) await device.connect(handles);
  const perRank = BATCH / plan.mesh.dp;
  const all = Int32Array.from({ length: perRank * LENGTH }, (_, i) => (i * 7) % VOCABULARY);
  const inputs = new Map([
    ['tokens', all],
    ['targets', all],
  ]);
  const step = { step: 0, seed: 5, learningRate: 0.01, inputs, timeoutSeconds: 60 };
  if (runs) await Promise.all(devices.map((device) => device.run('train', step)));
  const bytes = devices.map((device) => Object.values(device.measuredBytes()).reduce((sum, one) => sum + one, 0));
  for (const device of devices) device.close();
  return bytes;
}

describe('planned and measured bytes of a GPT', () => {
  const layouts: Record<string, Layout> = {
    'one worker': { mesh: { dp: 1, tp: 1, pp: 1 }, numMicroBatches: 1 },
    'one worker, 4 micro-batches': { mesh: { dp: 1, tp: 1, pp: 1 }, numMicroBatches: 4 },
    dp2: { mesh: { dp: 2, tp: 1, pp: 1 }, numMicroBatches: 2 },
    pp2: { mesh: { dp: 1, tp: 1, pp: 2 }, numMicroBatches: 4 },
    tp2: { mesh: { dp: 1, tp: 2, pp: 1 }, numMicroBatches: 2 },
  };
  for (const numLayers of [4, 2]) {
    for (const [name, layout] of Object.entries(layouts)) {
      for (const precision of ['f32', 'bf16'] as const) {
        it(`${numLayers} layers, ${name}, ${precision}`, async () => {
          const plan = planOf({ ...layout, precision }, numLayers);
          const measured = await measure(plan);
          for (const [rank, bytes] of measured.entries()) {
            const { peakBytes, workspaceBytes } = rankMemory(plan.ranks[rank]!);
            expect(workspaceBytes).toBeGreaterThan(0);
            const off = Math.abs(peakBytes / bytes - 1);
            expect(off, `planned ${peakBytes}, measured ${bytes}`).toBeLessThan(0.02);
          }
        });
      }
    }
  }

  it('what no step has touched does not count', async () => {
    const plan = planOf(layouts['one worker']!);
    const [before] = await measure(plan, false);
    expect(before).toBeLessThan(rankMemory(plan.ranks[0]!).peakBytes / 2);
  });

  // The gradients of the table are the largest values there are: added up in place, they have none in scratch.
  for (const precision of ['f32', 'bf16'] as const) {
    it(`a large vocabulary, ${precision}`, async () => {
      const plan = planOf({ ...layouts.dp2!, precision }, 2, 5000);
      for (const [rank, bytes] of (await measure(plan)).entries()) {
        const { peakBytes } = rankMemory(plan.ranks[rank]!);
        expect(Math.abs(peakBytes / bytes - 1), `planned ${peakBytes}, measured ${bytes}`).toBeLessThan(0.02);
      }
    });
  }

  // Chunks of different sizes share a rank; one of them has the logits.
  for (const schedule of ['zb-v', 'interleaved'] as const) {
    for (const precision of ['f32', 'bf16'] as const) {
      it(`${schedule}, ${precision}`, async () => {
        const plan = planOf({ ...layouts.pp2!, precision, schedule }, 6, 5000);
        for (const [rank, bytes] of (await measure(plan)).entries()) {
          const { peakBytes } = rankMemory(plan.ranks[rank]!);
          expect(Math.abs(peakBytes / bytes - 1), `planned ${peakBytes}, measured ${bytes}`).toBeLessThan(0.02);
        }
      });
    }
  }

  it('a limit counts what kernels take: recomputation makes room for them', () => {
    // Every micro-batch's activations are held at once, so that there is something to give up.
    const layout: Layout = {
      mesh: { dp: 1, tp: 1, pp: 2 },
      numMicroBatches: 8,
      schedule: 'gpipe',
      recompute: 'auto',
    };
    const peaks = (plan: Plan) => plan.ranks.map((rank) => rankMemory(rank).peakBytes);
    const fullest = planOf(layout)
      .ranks.map(rankMemory)
      .sort((a, b) => b.peakBytes - a.peakBytes)[0]!;
    // Enough for the arenas alone, and not for the workspace.
    const memoryLimitBytes = fullest.peakBytes - fullest.workspaceBytes + 1000;
    for (const bytes of peaks(planOf({ ...layout, memoryLimitBytes })))
      expect(bytes).toBeLessThanOrEqual(memoryLimitBytes);
  });
});
