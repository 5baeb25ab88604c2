/**
 * All benchmarks in one run: npm run bench -- [--only gpt10m,startup] [--quick] [--report file.json]
 * Prints tables and writes bench/results/<date>-<machine>[-<parts>].md, .json and pictures. Parts: limits and marks always;
 * gpt10m, gpt124m, bert, resnet, lstm, overlap, startup, curves.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { toSvg } from './chart.js';
import { limitsTable, measureLimits } from './limits.js';
import { curvesChart, curvesTable, measureCurves } from './lossCurves.js';
import { describeMachine, machineName } from './machine.js';
import { marksOf, marksTable } from './marks.js';
import { gpt10m } from './models/gpt.js';
import { WORKLOADS } from './models/workloads.js';
import { measureStartup, startupTable } from './startup.js';
import { renderTable } from './table.js';
import { trainingChart } from './training/chart.js';
import { measureOverlap, overlapTable } from './training/overlap.js';
import type { Missing, TrainingRow } from './training/result.js';
import { TRAINING_NOTES, trainingTable } from './training/table.js';
import { findTorch } from './training/torch.js';
import { trainAll } from './training/train.js';

const PARTS = [...WORKLOADS.map(({ name }) => name), 'overlap', 'startup', 'curves'];

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string' },
    /** Few steps: shows that everything runs; its figures are rough and are not filed under results. */
    quick: { type: 'boolean', default: false },
    report: { type: 'string' },
  },
});
const { quick } = flags;
const parts = flags.only?.split(',') ?? PARTS;
const unknown = parts.find((part) => !PARTS.includes(part));
if (unknown !== undefined) {
  process.stderr.write(`bench: there is no part '${unknown}'; there are ${PARTS.join(', ')}\n`);
  process.exit(2);
}

const started = performance.now();
const announce = (what: string): void => {
  const seconds = Math.round((performance.now() - started) / 1000);
  process.stderr.write(`bench ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}  ${what}\n`);
};

await tf.setBackend('cpu');
const machine = describeMachine();
const torch = findTorch();
if (torch === undefined) {
  process.stderr.write(
    'bench: NO PYTORCH: neither python3 nor /usr/bin/python3 imports torch (apt-get install python3-torch)\n',
  );
}
announce('limits of the machine');
const limits = await measureLimits(quick ? 3 : 20);

const rows: TrainingRow[] = [];
const missing: Missing[] = [];
const tables: string[] = [];
for (const workload of WORKLOADS.filter(({ name }) => parts.includes(name))) {
  const [seconds, maxStepSeconds] = quick ? [0, 1] : [2, 8];
  const result = await trainAll(workload, { limits, torch, seconds, maxStepSeconds, announce });
  rows.push(...result.rows);
  missing.push(...result.missing);
  tables.push(renderTable(trainingTable(workload, result)));
}
if (tables.length > 0) tables.push(...TRAINING_NOTES.map((note) => `- ${note}`), '');
const overlap = parts.includes('overlap') ? await measureOverlap(gpt10m, announce) : undefined;
if (overlap !== undefined) tables.push(renderTable(overlapTable(gpt10m, overlap)));
if (parts.includes('startup')) announce('start-up');
const startup = parts.includes('startup') ? measureStartup(quick ? 1 : 4) : undefined;
if (startup !== undefined) tables.push(renderTable(startupTable(startup)));
const curves = parts.includes('curves') ? await measureCurves(quick ? 20 : 200, announce) : undefined;
if (curves !== undefined) tables.push(renderTable(curvesTable(curves)));
const marks = marksOf(
  rows.filter(({ workload }) => workload === gpt10m.name),
  startup,
);

// A run of other parts has nothing to say on them.
const marked = marks.some(({ measured }) => measured !== undefined) ? [renderTable(marksTable(marks))] : [];

const header = [
  `# Benchmarks of ${machine.date.slice(0, 10)}`,
  '',
  `- machine: ${machine.cpu}, ${machine.numCores} cores, ${(machine.memoryBytes / 2 ** 30).toFixed(1)} GiB; load before the run ${machine.loadBefore.toFixed(1)}`,
  `- Node ${machine.node}, oneDNN ${machine.oneDnn}, kernels for ${machine.isa}, ${machine.compiler}`,
  torch === undefined
    ? '- PyTorch: **not found**, so nothing is compared with it'
    : `- PyTorch ${torch.version} (${torch.python}), CPU capability ${torch.capability}, f32 products by ${torch.blas}`,
  `- commit ${machine.commit}${quick ? '; quick run, rough figures' : ''}; the run took ${((performance.now() - started) / 60_000).toFixed(1)} minutes`,
  '',
];
const text = [...header, ...marked, renderTable(limitsTable(limits)), ...tables].join('\n');
process.stdout.write(`${text}\n`);

const { env: _, ...aboutTorch } = torch ?? { env: undefined };
const report = { machine, quick, torch: aboutTorch, limits, marks, training: rows, missing, overlap, startup, curves };
const data = `${JSON.stringify(report, null, 1)}\n`;
if (!quick) {
  const results = fileURLToPath(new URL('./results', import.meta.url));
  const suffix = flags.only === undefined ? '' : `-${parts.join('-')}`;
  const name = join(results, `${machine.date.slice(0, 10)}-${machineName(machine)}${suffix}`);
  const pictures: string[] = [];
  if (rows.length > 0) pictures.push(save(`${name}.svg`, await toSvg(trainingChart(rows))));
  if (curves !== undefined) pictures.push(save(`${name}-loss.svg`, await toSvg(curvesChart(curves))));
  const shown = pictures.map((file) => `![${file}](${file})\n`);
  save(`${name}.md`, [text, ...shown].join('\n'));
  save(`${name}.json`, data);
  process.stderr.write(`bench: written to ${name}.md, .json and ${pictures.join(', ') || 'no picture'}\n`);
}
if (flags.report !== undefined) save(resolve(flags.report), data);

/** Returns the file's own name. */
function save(file: string, content: string): string {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file.slice(dirname(file).length + 1);
}
