/** The page of one run, or of several that share a machine and a commit: Markdown, and the pictures in it. */
import { type Chart, toSvg } from './chart.js';
import { limitsTable } from './limits.js';
import { curvesChart, curvesTable } from './lossCurves.js';
import { marksOf, marksTable } from './marks.js';
import { gpt10m } from './models/gpt.js';
import { WORKLOADS } from './models/workloads.js';
import type { Report } from './report.js';
import { startupTable } from './startup.js';
import { renderTable } from './table.js';
import { trainingChart } from './training/chart.js';
import { overlapTable } from './training/overlap.js';
import { TRAINING_NOTES, trainingTable } from './training/table.js';

export function renderPage(reports: readonly Report[]): string {
  const training = reports.flatMap((report) => report.training);
  const missing = reports.flatMap((report) => report.missing);
  const tables: string[] = [];
  for (const workload of WORKLOADS) {
    const own = ({ workload: name }: { readonly workload: string }): boolean => name === workload.name;
    const [rows, absent] = [training.filter(own), missing.filter(own)];
    if (rows.length + absent.length > 0) tables.push(renderTable(trainingTable(workload, { rows, missing: absent })));
  }
  if (tables.length > 0) tables.push(...TRAINING_NOTES.map((note) => `- ${note}`), '');
  for (const { overlap } of reports) if (overlap !== undefined) tables.push(renderTable(overlapTable(gpt10m, overlap)));
  const startup = reports.find((report) => report.startup !== undefined)?.startup;
  if (startup !== undefined) tables.push(renderTable(startupTable(startup)));
  for (const { curves } of reports) if (curves !== undefined) tables.push(renderTable(curvesTable(curves)));
  const marks = marksOf(
    training.filter(({ workload }) => workload === gpt10m.name),
    startup,
  );
  // A run of other parts has nothing to say on them.
  const marked = marks.some(({ measured }) => measured !== undefined) ? [renderTable(marksTable(marks))] : [];
  return [
    ...header(reports),
    ...marked,
    ...reports.map((report) => renderTable(limitsOf(report, reports))),
    ...tables,
  ].join('\n');
}

function header(reports: readonly Report[]): string[] {
  const [first] = reports;
  if (first === undefined) return [];
  const { machine, torches } = first;
  const runs = reports.map(({ parts, machine: { date, loadBefore }, minutes }) => {
    const what = reports.length === 1 ? '' : ` ${parts.join(', ')}`;
    return `${what} at ${date.slice(11, 16)} UTC, ${minutes.toFixed(1)} minutes, load before it ${loadBefore.toFixed(1)}`;
  });
  return [
    `# Benchmarks of ${machine.date.slice(0, 10)}`,
    '',
    `- machine: ${machine.cpu}, ${machine.numCores} cores, ${(machine.memoryBytes / 2 ** 30).toFixed(1)} GiB`,
    `- Node ${machine.node}, oneDNN ${machine.oneDnn}, kernels for ${machine.isa}, ${machine.compiler}`,
    ...(torches.length === 0
      ? ['- PyTorch: **not found**, so nothing is compared with it']
      : torches.map(
          ({ version, python, capability, blas }) =>
            `- PyTorch ${version} (${python}), CPU capability ${capability}, f32 products by ${blas}`,
        )),
    `- commit ${machine.commit}${first.quick ? '; quick run, rough figures' : ''}`,
    `- run:${runs.join(';')}`,
    '',
  ];
}

/** Ratios are to the limits of the same run, so each run shows its own. */
function limitsOf(report: Report, reports: readonly Report[]) {
  const table = limitsTable(report.limits);
  if (reports.length === 1) return table;
  const last = report === reports.at(-1);
  return {
    ...table,
    title: `${table.title}, measured with ${report.parts.join(', ')}`,
    notes: last ? table.notes : [],
  };
}

/** By the ending of their file names. */
export async function drawPictures(reports: readonly Report[]): Promise<Map<string, string>> {
  const charts = new Map<string, Chart>();
  const rows = reports.flatMap(({ training }) => training);
  if (rows.length > 0) charts.set('.svg', trainingChart(rows));
  for (const { curves } of reports) if (curves !== undefined) charts.set('-loss.svg', curvesChart(curves));
  const pictures = new Map<string, string>();
  for (const [ending, chart] of charts) pictures.set(ending, await toSvg(chart));
  return pictures;
}
