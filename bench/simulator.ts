/**
 * Predicted step times beside the engine's, for two ranks of one thread: examples/gpt in every layout and schedule that two
 * ranks can run.
 * `--measured` takes the measured steps from an earlier report instead of running them: what another profile would have said.
 * Run: node --import tsx bench/simulator.ts [--measured report.json] [--steps 8] [--profile file.json] [--report file.json] [--svg file.svg] [--only pp2]
 * Mark: within 15 %.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { ensureKernels } from '../src/kernels/register.js';
import { simulate } from '../src/pipeline/simulate.js';
import { buildPlan } from '../src/planner/buildPlan.js';
import { rooflineCosts, timedCosts } from '../src/planner/costs/operatorCosts.js';
import { planSimulation } from '../src/planner/costs/planSimulation.js';
import { clusterCosts } from '../src/planner/search/cluster.js';
import { nodeTimer } from '../src/runtime/native/timeNode.js';
import { toSvg } from './chart.js';
import { predictionChart } from './predicted/chart.js';
import { LAYOUTS } from './predicted/layouts.js';
import { ADAM, milliseconds, percent, thisMachine } from './predicted/machine.js';
import { type Measured, measurePlan } from './predicted/measure.js';
import { exampleGpt } from './predicted/models.js';
import { renderTable } from './table.js';

const { values: flags } = parseArgs({
  options: {
    steps: { type: 'string', default: '8' },
    profile: { type: 'string' },
    report: { type: 'string' },
    svg: { type: 'string' },
    measured: { type: 'string' },
    only: { type: 'string' },
  },
});
const MARK = 0.15;
const BATCH = 16;

await tf.setBackend('cpu');
ensureKernels('cpu');
const subject = exampleGpt(BATCH);
const { profile, cluster } = await thisMachine(flags.profile);

const operators = timedCosts(nodeTimer({ threads: 1 }), rooflineCosts(cluster.device));
/** Of an earlier run. */
const earlier: readonly (Measured & { readonly name: string; readonly operators: number })[] =
  flags.measured === undefined ? [] : JSON.parse(readFileSync(flags.measured, 'utf8')).results;
const results = [];
for (const [name, layout] of LAYOUTS.filter(([name]) => name.includes(flags.only ?? ''))) {
  const microBatchSize = BATCH / layout.mesh.dp / (layout.numMicroBatches ?? 1);
  const costs = clusterCosts(cluster, layout.mesh);
  const plan = buildPlan({ train: subject.traceAt(microBatchSize), optimizer: ADAM, microBatchSize, costs, ...layout });
  const rates = simulate(planSimulation(plan, costs));
  const known = earlier.find((one) => one.name === name);
  const timed = known?.operators ?? simulate(planSimulation(plan, { ...costs, operators })).stepSeconds;
  const { seconds, others } = known ?? (await measurePlan(plan, subject, Number(flags.steps)));
  const { stepSeconds, bubble } = rates;
  results.push({ name, rates: stepSeconds, operators: timed, bubble, seconds, others });
}

const off = (predicted: number, measured: number) => predicted / measured - 1;
const missed = results.filter(({ rates, seconds }) => Math.abs(off(rates, seconds)) > MARK);
console.log(
  renderTable({
    title: `Simulator and engine: ${subject.name}, ${BATCH} samples of 128 tokens per step`,
    columns: ['layout', 'measured', 'by profile', 'off', 'by operators', 'off', 'bubble', 'others'],
    rows: results.map(({ name, rates, operators, bubble, seconds, others }) => [
      name,
      milliseconds(seconds),
      milliseconds(rates),
      percent(off(rates, seconds)),
      milliseconds(operators),
      percent(off(operators, seconds)),
      `${(bubble * 100).toFixed(0)} %`,
      others.toFixed(2),
    ]),
    notes: [
      `${profile.machine}, ${availableParallelism()} processors, one thread per rank, load ${loadavg()[0]?.toFixed(1)}; the middle of ${flags.steps} steps`,
      'others: cores that other processes had during the steps that count, on average',
      'by profile: what `merak profile` measured and the roofline rule; by operators: each distinct kernel call timed alone',
      `mark: by profile within ${100 * MARK} %: ${missed.length === 0 ? 'reached' : `missed by ${missed.map(({ name }) => name).join(', ')}`}`,
    ],
  }),
);
if (flags.report !== undefined) writeFileSync(flags.report, `${JSON.stringify({ profile, results }, null, 1)}\n`);
if (flags.svg !== undefined) {
  const rows = results.map(({ name, seconds, rates }) => ({ name, measured: seconds, predicted: rates }));
  writeFileSync(flags.svg, await toSvg(predictionChart('Predicted and measured steps of examples/gpt', rows, MARK)));
}
