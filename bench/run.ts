/**
 * All benchmarks in one run: npm run bench -- [--only gpt10m,startup] [--quick]. Prints tables and writes
 * bench/results/<date>-<machine>.md, .json and pictures. Parts: limits always; gpt10m, gpt124m, bert, resnet, lstm, overlap, startup,
 * curves. A run of some parts is written to build/bench instead; npm run bench -- --join build/bench/*.json makes one page of several.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machineName } from './machine.js';
import { measure, PARTS } from './measure.js';
import { drawPictures, renderPage } from './page.js';
import { readReports } from './report.js';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    /** Few steps: shows that everything runs; its figures are rough and are not filed under results. */
    quick: { type: 'boolean', default: false },
    /** Measures nothing: the files named are reports of runs of other parts. */
    join: { type: 'boolean', default: false },
  },
});
const parts = flags.only?.split(',') ?? PARTS;
const unknown = parts.find((part) => !PARTS.includes(part));
if (unknown !== undefined) fail(`there is no part '${unknown}'; there are ${PARTS.join(', ')}`);
if (flags.join !== positionals.length > 0) fail('--join takes the .json files of earlier runs, and nothing else does');

const reports = flags.join ? readReports(positionals) : [await measure(parts, flags.quick)];
const [first] = reports;
if (first !== undefined) {
  const page = renderPage(reports);
  process.stdout.write(`${page}\n`);
  const isWhole = !flags.quick && (flags.join || flags.only === undefined);
  const folder = fileURLToPath(new URL(isWhole ? './results' : '../build/bench', import.meta.url));
  const suffix = isWhole ? '' : `-${parts.join('-')}${flags.quick ? '-quick' : ''}`;
  const base = `${folder}/${first.machine.date.slice(0, 10)}-${machineName(first.machine)}${suffix}`;
  const pictures = await drawPictures(reports);
  for (const [ending, svg] of pictures) save(`${base}${ending}`, svg);
  const shown = [...pictures.keys()].map((ending) => `${base.slice(folder.length + 1)}${ending}`);
  save(`${base}.md`, [page, ...shown.map((file) => `![${file}](${file})\n`)].join('\n'));
  save(`${base}.json`, `${JSON.stringify(reports.length === 1 ? first : reports, null, 1)}\n`);
  process.stderr.write(`bench: written to ${relative(process.cwd(), base)}.md, .json and ${pictures.size} pictures\n`);
}

function save(file: string, content: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}

function fail(why: string): never {
  process.stderr.write(`bench: ${why}\n`);
  process.exit(2);
}
