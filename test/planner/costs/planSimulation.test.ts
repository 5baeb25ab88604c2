/** Real plans through the cost model and the simulator. */
import { beforeAll, describe, expect, it } from 'vitest';
import { gpt } from '../../../src/models/gpt.js';
import { simulate } from '../../../src/pipeline/simulate.js';
import type { Plan, Program } from '../../../src/plan/plan.js';
import { buildPlan, type PlanInput } from '../../../src/planner/buildPlan.js';
import { deviceByName } from '../../../src/planner/costs/devices.js';
import { linkByName } from '../../../src/planner/costs/links.js';
import { rooflineCosts } from '../../../src/planner/costs/operatorCosts.js';
import { planSimulation } from '../../../src/planner/costs/planSimulation.js';
import { type TracedModel, traced } from '../training.js';

const FIELDS = ['tokens', 'targets'].map((name) => ({ name, shape: [8], dtype: 'int32' as const }));
const ADAM = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: 0 } as const;
let model: TracedModel;

beforeAll(() => {
  model = traced(
    gpt({ vocabularySize: 11, contextLength: 8, numLayers: 4, numHeads: 2, hiddenSize: 16, dropout: 0 }),
    FIELDS,
    2,
  );
});

const plan = (change: Partial<PlanInput>): Plan =>
  buildPlan({ train: model.train, optimizer: ADAM, numMicroBatches: 8, ...change });
// A device without launches: time is then proportional to work.
const device = { ...deviceByName('cpu'), launchSeconds: 0 };
const [pipelineLink, dataLink] = [linkByName('shm'), linkByName('eth10')];
const costs = {
  device,
  operators: rooflineCosts(device),
  pipelineLink,
  dataLink,
  tensorLink: pipelineLink,
  tiedLink: pipelineLink,
};
const input = (built: Plan) => planSimulation(built, costs);

function nodes(built: Plan, kind: Program['kind'], pp: number): string[] {
  const program = built.ranks[pp]!.executables[0]!.programs.find((one) => one.kind === kind);
  return (program?.nodes ?? []).filter(({ kernel }) => kernel !== 'MerakAssign').map(({ kernel }) => kernel);
}

describe('W split from B', () => {
  it('does the same work in two programs, none of it twice', () => {
    for (const pp of [1, 2, 4]) {
      const [whole, split] = [plan({ mesh: { pp } }), plan({ mesh: { pp }, schedule: 'zb-h1' })];
      for (let stage = 0; stage < pp; stage++) {
        const parts = [...nodes(split, 'backward', stage), ...nodes(split, 'weights', stage)];
        expect(parts.sort()).toEqual(nodes(whole, 'backward', stage).sort());
        if (stage === 0) expect(nodes(split, 'backward', 0)).toEqual([]);
      }
      const total = (built: Plan) =>
        input(built).seconds.map(({ inputGradient, weightGradient }) => inputGradient + weightGradient);
      total(split).forEach((seconds, stage) => {
        expect(seconds / total(whole)[stage]!).toBeGreaterThan(0.95);
        expect(seconds / total(whole)[stage]!).toBeLessThan(1.1);
      });
    }
  });
});

describe('plans simulated', () => {
  it('schedules order as theory says: ZB-H1 before 1F1B; SCP before 1F1B under recomputation; GPipe no better', () => {
    const step = (change: Partial<PlanInput>) => simulate(input(plan({ mesh: { pp: 4 }, ...change }))).stepSeconds;
    const recompute = 'full' as const;
    expect(step({ schedule: 'zb-h1' })).toBeLessThan(step({}));
    expect(step({ schedule: 'scp', recompute })).toBeLessThan(step({ recompute }));
    expect(step({ schedule: 'zb-h1', recompute })).toBeLessThan(step({ schedule: 'scp', recompute }));
    expect(step({})).toBeLessThan(step({ recompute }));
    expect(step({ schedule: 'interleaved' })).toBeLessThan(step({}));
    expect(step({ schedule: 'zb-v', recompute })).toBeLessThan(step({ schedule: 'interleaved', recompute }));
  });

  it('what chunks send counts at every boundary between ranks, and nothing where they hand over', () => {
    const looped = input(plan({ mesh: { pp: 2 }, schedule: 'interleaved' }));
    expect(looped.seconds).toHaveLength(4);
    const bytes = (simulated: typeof looped) =>
      simulated.boundaries!.map(({ activation, gradient }) => [activation.bytes > 0, gradient.bytes > 0]);
    expect(bytes(looped)).toEqual(Array.from({ length: 3 }, () => [true, true]));
    const vee = input(plan({ mesh: { pp: 2 }, schedule: 'zb-v' }));
    expect(bytes(vee)).toEqual([
      [true, true],
      [false, false],
      [true, true],
    ]);
    const total = (simulated: typeof looped) => simulated.seconds.reduce((sum, { forward }) => sum + forward, 0);
    expect(total(looped) / total(input(plan({ mesh: { pp: 4 } })))).toBeCloseTo(1, 1);
  });

  it('replicas reduce over their link, once per bucket; fewer processors take longer', () => {
    const built = plan({ mesh: { pp: 2, dp: 2 } });
    const simulation = simulate(input(built));
    const collectives = simulation.transfers.filter(({ what }) => what === 'collective');
    expect(collectives.map(({ label }) => label).sort()).toEqual(['gradients 0', 'gradients 1', 'tied 0+1']);
    expect(simulation.stepSeconds).toBeGreaterThan(simulation.pipelineSeconds);
    const crowded = simulate(planSimulation(built, { ...costs, numProcessors: 1 }));
    expect(crowded.pipelineSeconds).toBeGreaterThan(2 * simulation.pipelineSeconds);
    const enough = simulate(planSimulation(built, { ...costs, numProcessors: 4 }));
    expect(enough.stepSeconds).toBeCloseTo(simulation.stepSeconds, 9);
  });
});
