/**
 * Predicted step times beside the engine's: a GPT on pipelines of 2 and 4 ranks in this process, one thread each.
 * Run: node --import tsx bench/simulator.ts [steps=8] [--profile file.json] [--report file.json]
 * Ranks beyond the processors share them, in the simulation as on the machine.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { optimizeGraph } from '../src/graph/passes/optimize.js';
import { ensureKernels } from '../src/kernels/register.js';
import { measureProfile } from '../src/launcher/profile.js';
import { gpt } from '../src/models/gpt.js';
import { simulate } from '../src/pipeline/simulate.js';
import type { Plan } from '../src/plan/plan.js';
import { buildPlan, type PlanInput } from '../src/planner/buildPlan.js';
import { rooflineCosts, timedCosts } from '../src/planner/costs/operatorCosts.js';
import { planSimulation } from '../src/planner/costs/planSimulation.js';
import { parseProfile } from '../src/planner/costs/profile.js';
import type { ArenaHandle } from '../src/runtime/device.js';
import { NativeDevice } from '../src/runtime/native/device.js';
import { nodeTimer } from '../src/runtime/native/timeNode.js';
import { traceModel } from '../src/trace/trace.js';
import { renderTable } from './table.js';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { profile: { type: 'string' }, report: { type: 'string' } },
});
const numSteps = Number(positionals[0] ?? 8);
const [contextLength, microBatchSize, vocabularySize] = [128, 2, 256];

await tf.setBackend('cpu');
ensureKernels('cpu');
const model = gpt({ vocabularySize, contextLength, numLayers: 8, numHeads: 6, hiddenSize: 384, seed: 1 });
const fields = (['tokens', 'targets'] as const).map((name) => ({
  name,
  shape: [contextLength],
  dtype: 'int32' as const,
}));
const trace = traceModel(model, 'train', fields, microBatchSize);
const initial = new Map(
  trace.graph.parameters.map(({ name }, index) => [name, trace.variables[index]?.dataSync() as Float32Array]),
);
const graph = optimizeGraph(trace.graph);

const profile =
  flags.profile === undefined
    ? await measureProfile(1)
    : parseProfile(readFileSync(flags.profile, 'utf8'), flags.profile);
const { device, links } = profile;
const link = links?.messages ?? { name: 'none', latencySeconds: 0, bytesPerSecond: 1e12 };
const reduceLink = links?.allReduce ?? link;
const roofline = rooflineCosts(device);
const timed = timedCosts(nodeTimer({ threads: 1 }), roofline);

type Layout = Pick<PlanInput, 'mesh' | 'schedule' | 'recompute' | 'numMicroBatches'>;
const LAYOUTS: readonly Layout[] = [2, 4].flatMap((pp) => [
  { mesh: { pp }, schedule: '1f1b', numMicroBatches: 8 },
  { mesh: { pp }, schedule: '1f1b', recompute: 'full', numMicroBatches: 8 } as const,
  { mesh: { pp }, schedule: 'scp', recompute: 'full', numMicroBatches: 8 } as const,
  { mesh: { pp }, schedule: 'zb-h1', numMicroBatches: 8 },
  { mesh: { pp }, schedule: 'interleaved', numMicroBatches: 8 },
  { mesh: { pp }, schedule: 'zb-v', numMicroBatches: 8 },
]);

/** Seconds of the slowest rank in the fastest step, as kernels are timed too; the first step is left out. */
async function measure(plan: Plan): Promise<number> {
  const devices = plan.ranks.map(() => new NativeDevice({ threads: 1 }));
  const handles: ArenaHandle[] = [];
  try {
    for (const [rank, rankPlan] of plan.ranks.entries()) {
      const one = devices[rank]!;
      handles.push(...(await one.open(rankPlan)));
      for (const executable of rankPlan.executables) handles.push(...(await one.load(executable)));
      for (const [index, { name }] of rankPlan.parameters.entries())
        await one.write(index, 'value', initial.get(name)!);
    }
    for (const one of devices) await one.connect(handles);
    const length = plan.numMicroBatches * microBatchSize * contextLength;
    const seconds: number[] = [];
    for (let step = 0; step <= numSteps; step++) {
      const stream = Int32Array.from({ length: length + 1 }, (_, i) => (i * 31 + step * 7 + ((i * i) >> 5)) & 255);
      const inputs = new Map([
        ['tokens', stream.slice(0, -1)],
        ['targets', stream.slice(1)],
      ]);
      const input = { step, seed: 1, learningRate: 1e-3, timeoutSeconds: 100, inputs };
      const results = await Promise.all(devices.map((one) => one.run('train', input)));
      if (step > 0) seconds.push(Math.max(...results.map((result) => result.seconds)));
    }
    return Math.min(...seconds);
  } finally {
    for (const one of devices) one.close();
  }
}

const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 } as const;
const results = [];
for (const layout of LAYOUTS) {
  const plan = buildPlan({ train: graph, optimizer, seed: 1, microBatchSize, ...layout });
  const costs = { device, pipelineLink: link, dataLink: reduceLink, tensorLink: reduceLink };
  const numProcessors = availableParallelism();
  const predict = (operators: typeof roofline) =>
    simulate(planSimulation(plan, { ...costs, operators, transfers: 'receiver', numProcessors }));
  const [byRates, byOperators] = [predict(roofline), predict(timed)];
  const measured = await measure(plan);
  results.push({
    layout,
    rates: byRates.stepSeconds,
    operators: byOperators.stepSeconds,
    bubble: byOperators.bubble,
    measured,
  });
}

const milliseconds = (seconds: number) => `${(seconds * 1e3).toFixed(1)} ms`;
const error = (predicted: number, measured: number) => `${((predicted / measured - 1) * 100).toFixed(0)} %`;
console.log(
  renderTable({
    title: `Simulator and engine: GPT of 8 layers, hidden 384, 8 micro-batches of ${microBatchSize} x ${contextLength} tokens`,
    columns: ['layout', 'measured', 'by operators', 'error', 'by rates', 'error', 'bubble'],
    rows: results.map(({ layout, rates, operators, bubble, measured }) => [
      `pp${layout.mesh?.pp} ${layout.schedule}${layout.recompute === 'full' ? ' + recompute' : ''}`,
      milliseconds(measured),
      milliseconds(operators),
      error(operators, measured),
      milliseconds(rates),
      error(rates, measured),
      `${(bubble * 100).toFixed(0)} %`,
    ]),
    notes: [
      `${profile.machine}, ${availableParallelism()} processors, one thread per rank, load before ${loadavg()[0]?.toFixed(1)}; fastest of ${numSteps} steps`,
      'by operators: each distinct kernel call timed alone; by rates: the profile of `merak profile` and the roofline rule',
      'bubble: of the simulation by operators',
    ],
  }),
);
if (flags.report !== undefined) writeFileSync(flags.report, `${JSON.stringify({ profile, results }, null, 2)}\n`);
