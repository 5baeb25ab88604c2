/** Sub-batches and sequence parallelism as plan options: chosen by cost, pinned, or refused with a reason. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import { gpt } from '../../src/models/gpt.js';
import { buildPlan, type PlanInput } from '../../src/planner/buildPlan.js';
import { deviceByName } from '../../src/planner/costs/devices.js';
import { linkByName } from '../../src/planner/costs/links.js';
import { rooflineCosts } from '../../src/planner/costs/operatorCosts.js';
import type { ClusterCosts } from '../../src/planner/costs/planSimulation.js';
import { planSimulation } from '../../src/planner/costs/planSimulation.js';
import { traceModel } from '../../src/trace/trace.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const BATCH = 4;

function inputOf(batch = BATCH, length = 128): PlanInput {
  const user = gpt({ vocabularySize: 64, contextLength: length, numLayers: 2, numHeads: 4, hiddenSize: 512 });
  const fields = (['tokens', 'targets'] as const).map((name) => ({ name, shape: [length], dtype: 'int32' as const }));
  const train = optimizeGraph(traceModel(user, 'train', fields, batch).graph);
  user.dispose();
  return { train, optimizer: { kind: 'sgd' }, mesh: { dp: 1, tp: 2, pp: 1 }, numMicroBatches: 1 };
}

function cluster(deviceName: string, linkName: string): ClusterCosts {
  const device = deviceByName(deviceName);
  const link = linkByName(linkName);
  return {
    device,
    operators: rooflineCosts(device),
    pipelineLink: link,
    dataLink: link,
    tensorLink: link,
    tiedLink: link,
  };
}

const trains = (options: Partial<PlanInput>, input = inputOf()) => buildPlan({ ...input, ...options });
const secondsOf = (plan: ReturnType<typeof buildPlan>, costs: ClusterCosts) => {
  const { forward, inputGradient } = planSimulation(plan, costs).seconds[0]!;
  return forward + inputGradient;
};

describe('sub-batches', () => {
  it('are chosen where the link is slow and computing is another unit’s work, and the plan is the faster for it', () => {
    const slow = cluster('rtx3090', 'pcie3');
    const chosen = trains({ costs: slow });
    expect(chosen.numSubBatches).toBeGreaterThan(1);
    expect(secondsOf(chosen, slow)).toBeLessThan(secondsOf(trains({ subBatches: 1 }), slow));
  });

  it('are not chosen among the cores of one host', () => {
    expect(trains({}).numSubBatches).toBe(1);
  });

  it('are refused without a tensor axis, or where a micro-batch does not divide', () => {
    expect(() => trains({ mesh: { dp: 1, tp: 1, pp: 1 }, subBatches: 2 })).toThrow(/config\/degrees[\s\S]*subBatches/);
    expect(() => trains({ subBatches: 3 })).toThrow(/config\/batch[\s\S]*divisor of 4/);
  });
});

describe('sequence parallelism', () => {
  it('is refused where it was asked for and cannot be', () => {
    const on = { sequenceParallel: 'on' } as const;
    expect(() => trains({ mesh: { dp: 1, tp: 1, pp: 1 }, ...on })).toThrow(/config\/invalid[\s\S]*sequenceParallel/);
    expect(trains(on).ranks[0]!.executables[0]!.programs[0]!.nodes.map(({ kernel }) => kernel)).toContain(
      'MerakReduceScatter',
    );
  });
});
