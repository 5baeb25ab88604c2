/**
 * All benchmarks in one run: npm run bench -- [--quick] [--report file.json]
 * Prints tables and writes bench/results/<date>-<machine>.md and .json.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gptTable, measureGpt } from './gpt.js';
import { limitsTable, measureLimits } from './limits.js';
import { describeMachine, machineName } from './machine.js';
import { renderTable } from './table.js';

const { values: flags } = parseArgs({
  options: {
    /** Few steps: shows that everything runs; its figures are rough and are not filed under results. */
    quick: { type: 'boolean', default: false },
    report: { type: 'string' },
  },
});
const { quick } = flags;

const machine = describeMachine();
const limits = await measureLimits(quick ? 3 : 20);
const rateOf = (numThreads: number): number => {
  const found = limits.matmul.find((one) => one.dtype === 'f32' && one.numThreads === numThreads);
  return found?.flopsPerSecond ?? Number.NaN;
};
const gpt = await measureGpt({
  numSteps: quick ? 3 : 20,
  numRounds: quick ? 1 : 5,
  numPlainSteps: quick ? 1 : 3,
  matmulFlopsPerSecond: rateOf,
});

const header = [
  `# Benchmarks of ${machine.date.slice(0, 10)}`,
  '',
  `- machine: ${machine.cpu}, ${machine.numCores} cores, ${(machine.memoryBytes / 2 ** 30).toFixed(1)} GiB; load before the run ${machine.loadBefore.toFixed(1)}`,
  `- Node ${machine.node}, oneDNN ${machine.oneDnn}, kernels for ${machine.isa}, ${machine.compiler}`,
  `- commit ${machine.commit}${quick ? '; quick run, rough figures' : ''}`,
  '',
];
const text = [...header, renderTable(limitsTable(limits)), renderTable(gptTable(gpt))].join('\n');
console.log(text);

const data = `${JSON.stringify({ machine, quick, limits, gpt }, null, 1)}\n`;
if (!quick) {
  const results = fileURLToPath(new URL('./results', import.meta.url));
  const name = join(results, `${machine.date.slice(0, 10)}-${machineName(machine)}`);
  save(`${name}.md`, text);
  save(`${name}.json`, data);
  console.log(`written to ${name}.md and .json`);
}
if (flags.report !== undefined) save(resolve(flags.report), data);

function save(file: string, content: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}
