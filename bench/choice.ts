/**
 * The planner's choice for two workers on this machine against every layout it might have chosen, each measured.
 * Run: node --import tsx bench/choice.ts [--steps 4] [--rounds 3] [--profile file.json] [--report file.json] [--only GPT]
 * Mark: the fastest, or within 5 % of it, for each of three models.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { ensureKernels } from '../src/kernels/register.js';
import { simulate } from '../src/pipeline/simulate.js';
import type { Plan } from '../src/plan/plan.js';
import { buildPlan } from '../src/planner/buildPlan.js';
import { planSimulation } from '../src/planner/costs/planSimulation.js';
import { candidateChoices, type LayoutChoice } from '../src/planner/search/candidates.js';
import { clusterCosts } from '../src/planner/search/cluster.js';
import { describeChoice } from '../src/planner/search/family.js';
import { searchLayout } from '../src/planner/search/searchLayout.js';
import { ADAM, milliseconds, percent, thisMachine, WORKERS } from './predicted/machine.js';
import { measurePlan } from './predicted/measure.js';
import { SUBJECTS } from './predicted/models.js';
import { renderTable } from './table.js';

const { values: flags } = parseArgs({
  options: {
    steps: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
    profile: { type: 'string' },
    report: { type: 'string' },
    only: { type: 'string', default: '' },
  },
});
const MARK = 0.05;
/** Of steps per layout and round, so that short steps are not few. */
const LEAST_SECONDS = 0.4;

await tf.setBackend('cpu');
ensureKernels('cpu');
const { profile, cluster } = await thisMachine(flags.profile);

/** Layouts that do more than another only to save memory are never faster where memory is plenty. */
function isWorthMeasuring({ recompute, shardOptimizer }: LayoutChoice): boolean {
  return recompute === 'none' && !shardOptimizer;
}

const reports = [];
for (const [, make] of SUBJECTS.filter(([name]) => name.includes(flags.only))) {
  const subject = make();
  const pinned = { recompute: 'none', shardOptimizer: false } as const;
  const request = { workers: WORKERS, batchSize: subject.batchSize, cluster, optimizer: ADAM, pinned };
  const { choice: chosen } = searchLayout({ traceAt: subject.traceAt, ...request });
  const everything = { ...pinned, subBatches: 1, sequenceParallel: 'auto' } as const;
  const choices = candidateChoices(WORKERS, subject.batchSize, WORKERS, everything).filter(isWorthMeasuring);
  const measured: { choice: LayoutChoice; plan: Plan; predicted: number; seconds: number; others: number }[] = [];
  for (const choice of choices) {
    const costs = clusterCosts(cluster, choice.mesh);
    const train = subject.traceAt(choice.microBatchSize);
    try {
      const plan = buildPlan({ ...choice, train, optimizer: ADAM, costs });
      const predicted = simulate(planSimulation(plan, costs)).stepSeconds;
      measured.push({ choice, plan, predicted, seconds: Number.POSITIVE_INFINITY, others: 0 });
    } catch (error) {
      process.stderr.write(
        `${describeChoice(choice)}: ${error instanceof Error ? error.message.split('\n')[0] : error}\n`,
      );
    }
  }
  // All layouts in turn, again and again: what slows the machine for a while slows no layout alone.
  for (let round = 0; round < Number(flags.rounds); round++) {
    for (const one of measured) {
      const numSteps = Math.max(Number(flags.steps), Math.ceil(LEAST_SECONDS / one.predicted));
      const { seconds, others } = await measurePlan(one.plan, subject, numSteps);
      if (seconds < one.seconds) Object.assign(one, { seconds, others });
    }
  }
  measured.sort((a, b) => a.seconds - b.seconds);
  const fastest = measured[0]?.seconds ?? Number.NaN;
  const isChosen = (choice: LayoutChoice) => describeChoice(choice) === describeChoice(chosen);
  const behind = (measured.find(({ choice }) => isChosen(choice))?.seconds ?? Number.NaN) / fastest - 1;
  reports.push({ model: subject.name, chosen, behind, measured: measured.map(({ plan: _, ...rest }) => rest) });
  console.log(
    renderTable({
      title: `Every layout for ${WORKERS} workers: ${subject.name}, ${subject.batchSize} samples per step`,
      columns: ['layout', 'measured', 'predicted', 'off', ''],
      rows: measured.map(({ choice, seconds, predicted }) => [
        describeChoice(choice),
        milliseconds(seconds),
        milliseconds(predicted),
        percent(predicted / seconds - 1),
        isChosen(choice) ? 'chosen' : '',
      ]),
      notes: [
        `${profile.machine}, one thread per worker; the middle of ${flags.steps} steps or ${LEAST_SECONDS} s, the fastest of ${flags.rounds} rounds`,
        `mark: the choice within ${100 * MARK} % of the fastest: ${percent(behind)}, ${behind <= MARK ? 'reached' : 'missed'}`,
      ],
    }),
  );
}
if (flags.report !== undefined) writeFileSync(flags.report, `${JSON.stringify({ profile, reports }, null, 1)}\n`);
