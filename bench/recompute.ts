/**
 * Stage-aware recomputation under an artificial cap of memory against full recomputation under the same cap: measured in the
 * engine and predicted.
 * Run: node --import tsx bench/recompute.ts [--steps 8] [--profile file.json] [--report file.json]
 * Mark: faster, by the predicted ratio within 15 %.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { ensureKernels } from '../src/kernels/register.js';
import { simulate } from '../src/pipeline/simulate.js';
import { formatBytes } from '../src/plan/memoryReport.js';
import { buildPlan } from '../src/planner/buildPlan.js';
import { planSimulation } from '../src/planner/costs/planSimulation.js';
import { largestPeakBytes } from '../src/planner/memoryLimit.js';
import { clusterCosts } from '../src/planner/search/cluster.js';
import type { RecomputeMode } from '../src/recompute/saved.js';
import { ADAM, milliseconds, percent, thisMachine } from './predicted/machine.js';
import { measurePlan } from './predicted/measure.js';
import { exampleGpt } from './predicted/models.js';
import { renderTable } from './table.js';

const { values: flags } = parseArgs({
  options: { steps: { type: 'string', default: '8' }, profile: { type: 'string' }, report: { type: 'string' } },
});
const MARK = 0.15;
const [BATCH, MICRO_BATCHES] = [16, 8];
/** Of the way from what full recomputation takes to what keeping everything does. */
const CAPS = [0.25, 0.5, 0.75];

await tf.setBackend('cpu');
ensureKernels('cpu');
const subject = exampleGpt(BATCH);
const { profile, cluster } = await thisMachine(flags.profile);
const mesh = { pp: 2, dp: 1, tp: 1 };
const costs = clusterCosts(cluster, mesh);
const microBatchSize = BATCH / MICRO_BATCHES;
const planned = (recompute: RecomputeMode, memoryLimitBytes?: number) =>
  buildPlan({
    train: subject.traceAt(microBatchSize),
    optimizer: ADAM,
    mesh,
    numMicroBatches: MICRO_BATCHES,
    microBatchSize,
    costs,
    recompute,
    memoryLimitBytes,
  });
const run = async (plan: ReturnType<typeof planned>) => ({
  peakBytes: largestPeakBytes(plan),
  predicted: simulate(planSimulation(plan, costs)).stepSeconds,
  measured: (await measurePlan(plan, subject, Number(flags.steps))).seconds,
});

const [full, none] = [await run(planned('full')), await run(planned('none'))];
const results = [];
for (const share of CAPS) {
  const cap = Math.floor(full.peakBytes + share * (none.peakBytes - full.peakBytes));
  const auto = await run(planned('auto', cap));
  results.push({ cap, ...auto, ratio: full.measured / auto.measured, predictedRatio: full.predicted / auto.predicted });
}
const missed = results.filter(({ ratio, predictedRatio }) => ratio <= 1 || Math.abs(ratio / predictedRatio - 1) > MARK);
console.log(
  renderTable({
    title: `Stage-aware recomputation under a cap: ${subject.name}, pp2, ${MICRO_BATCHES} micro-batches`,
    columns: ['cap per rank', 'peak', 'measured', 'full measured', 'ratio', 'predicted ratio', 'off'],
    rows: results.map(({ cap, peakBytes, measured, ratio, predictedRatio }) => [
      formatBytes(cap),
      formatBytes(peakBytes),
      milliseconds(measured),
      milliseconds(full.measured),
      ratio.toFixed(3),
      predictedRatio.toFixed(3),
      percent(ratio / predictedRatio - 1),
    ]),
    notes: [
      `full recomputation takes ${formatBytes(full.peakBytes)}, keeping everything ${formatBytes(none.peakBytes)} and ${milliseconds(none.measured)}`,
      `mark: faster than full recomputation, by the predicted ratio within ${100 * MARK} %: ${missed.length === 0 ? 'reached' : 'missed'}`,
    ],
  }),
);
if (flags.report !== undefined)
  writeFileSync(flags.report, `${JSON.stringify({ profile, full, none, results }, null, 1)}\n`);
