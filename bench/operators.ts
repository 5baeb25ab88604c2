/**
 * Where a prediction is off: a step of one layout kernel by kernel, as the engine records it and as the cost model prices it.
 * Run: node --import tsx bench/operators.ts [--model GPT] [--layout 'pp2 1f1b'] [--steps 6] [--rank 0] [--profile file.json]
 */
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { ensureKernels } from '../src/kernels/register.js';
import { buildPlan } from '../src/planner/buildPlan.js';
import { secondsByNode } from '../src/planner/costs/programSeconds.js';
import { clusterCosts } from '../src/planner/search/cluster.js';
import { decodeSpans } from '../src/runtime/spans.js';
import { LAYOUTS } from './predicted/layouts.js';
import { ADAM, milliseconds, percent, thisMachine } from './predicted/machine.js';
import { runPlan } from './predicted/measure.js';
import { exampleGpt, SUBJECTS } from './predicted/models.js';
import { renderTable } from './table.js';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    layout: { type: 'string', default: 'pp2 1f1b' },
    steps: { type: 'string', default: '6' },
    rank: { type: 'string', default: '0' },
    profile: { type: 'string' },
  },
});

await tf.setBackend('cpu');
ensureKernels('cpu');
const subject = flags.model === undefined ? exampleGpt(16) : SUBJECTS.find(([name]) => name === flags.model)?.[1]();
if (subject === undefined) throw new Error(`one of: ${SUBJECTS.map(([name]) => name).join('; ')}`);
const { batchSize } = subject;
const { profile, cluster } = await thisMachine(flags.profile);
const layout = LAYOUTS.find(([name]) => name === flags.layout)?.[1];
if (layout === undefined) throw new Error(`one of: ${LAYOUTS.map(([name]) => name).join('; ')}`);
const microBatchSize = batchSize / layout.mesh.dp / (layout.numMicroBatches ?? 1);
const costs = clusterCosts(cluster, layout.mesh);
const plan = buildPlan({ train: subject.traceAt(microBatchSize), optimizer: ADAM, microBatchSize, costs, ...layout });
const rank = Number(flags.rank);
const executable = plan.ranks[rank]?.executables.find(({ name }) => name === 'train');
if (executable === undefined) throw new Error(`no rank ${flags.rank}`);

interface Sum {
  runs: number;
  measured: number;
  predicted: number;
}
const sums = new Map<string, Sum>();
const add = (name: string, measured: number, predicted: number) => {
  const sum = sums.get(name) ?? { runs: 0, measured: 0, predicted: 0 };
  sums.set(name, {
    runs: sum.runs + 1,
    measured: sum.measured + measured,
    predicted: sum.predicted + predicted,
  });
};
const programCosts = { ...costs, tensorRanks: layout.mesh.tp };
const programs = executable.programs.map((program) => ({ program, seconds: secondsByNode(program, programCosts) }));
/** By kind of exchange: seconds of waiting for the peer. */
const waits = new Map<string, number>();
let step = 0;
const numSteps = Number(flags.steps);
for (const results of await runPlan(plan, subject, numSteps, { record: true })) {
  for (const span of decodeSpans(results[rank]?.spans ?? new Float64Array(0))) {
    const seconds = span.end - span.begin;
    if (span.kind === 'step') step += seconds;
    if (span.kind === 'node') {
      const found = programs.find(({ program: { kind, chunk = 0 } }) => kind === span.program && chunk === span.chunk);
      const node = found?.program.nodes[span.index];
      add(`${span.program} ${node?.kernel}`, seconds, found?.seconds[span.index] ?? 0);
    }
    if (span.kind === 'instruction') {
      const { kind } = executable.schedule[span.index]!;
      if (!executable.programs.some((program) => program.kind === kind)) add(kind, seconds, 0);
    }
    if (span.kind === 'exchange') waits.set(span.exchange, (waits.get(span.exchange) ?? 0) + span.waitSeconds);
  }
}
// What the engine joined to another node never ran by itself.
for (const { program, seconds } of programs) {
  const perStep = executable.schedule.filter(({ kind }) => kind === program.kind).length;
  const joined = new Map<string, number>();
  program.nodes.forEach(({ kernel }, index) => {
    joined.set(kernel, (joined.get(kernel) ?? 0) + (seconds[index] ?? 0) * perStep * numSteps);
  });
  for (const [kernel, predicted] of joined) {
    const name = `${program.kind} ${kernel}`;
    const sum = sums.get(name) ?? { runs: 0, measured: 0, predicted: 0 };
    sums.set(name, { ...sum, predicted: Math.max(sum.predicted, predicted) });
  }
}
const total = (of: (sum: Sum) => number) => [...sums.values()].reduce((all, sum) => all + of(sum), 0);
const perStep = (seconds: number) => milliseconds(seconds / numSteps);
const row = (name: string, { runs, measured, predicted }: Sum) => [
  name,
  String(runs / numSteps),
  perStep(measured),
  perStep(predicted),
  perStep(measured - predicted),
  measured > 0 && predicted > 0 ? percent(predicted / measured - 1) : '',
];
const all = {
  runs: total(({ runs }) => runs),
  measured: total((sum) => sum.measured),
  predicted: total((sum) => sum.predicted),
};
console.log(
  renderTable({
    title: `Rank ${rank} of ${flags.layout}: ${subject.name}, ${batchSize} samples per step`,
    columns: ['operation', 'runs', 'measured', 'predicted', 'missing', 'off'],
    rows: [
      ...[...sums]
        .sort(([, a], [, b]) => Math.abs(b.measured - b.predicted) - Math.abs(a.measured - a.predicted))
        .map(([name, sum]) => row(name, sum)),
      row('all', all),
    ],
    notes: [
      `${profile.machine}; ${perStep(step)} a step, ${perStep(step - all.measured)} of it in none of these`,
      ...[...waits].map(([exchange, seconds]) => `${exchange}: ${perStep(seconds)} of waiting for peers`),
    ],
  }),
);
