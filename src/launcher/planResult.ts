/** What `merak plan` does with a plan: prints it, and writes trace, chart and report. */
import { chromeTrace } from '../pipeline/chromeTrace.js';
import { ganttSpec } from '../pipeline/gantt.js';
import { simulate } from '../pipeline/simulate.js';
import type { PlanOutcome } from '../planner/outcome.js';
import { renderSvg, writeResult } from './chart.js';

export interface PlanFiles {
  readonly trace?: string | undefined;
  readonly svg?: string | undefined;
  readonly report?: string | undefined;
}

export async function showPlan({ title, text, data, step }: PlanOutcome, { trace, svg, report }: PlanFiles) {
  process.stdout.write(`${text}\n`);
  if (report !== undefined) await writeResult('--report', report, `${JSON.stringify(data, null, 1)}\n`);
  if (trace === undefined && svg === undefined) return;
  const simulation = simulate(step);
  if (trace !== undefined) await writeResult('--trace', trace, JSON.stringify(chromeTrace(simulation)));
  if (svg === undefined) return;
  const spec = ganttSpec(simulation, step.schedule, { title, seconds: step.seconds, unit: 'seconds' });
  await writeResult('--svg', svg, await renderSvg(spec));
}
