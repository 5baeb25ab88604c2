// npm run recipes -- [NAME...] [--data DIR]: examples/recipes/*.yaml on 2 workers, all or those named; results/DAY/recipes.md joins
// them with those that ran before, so that a long run can be made in pieces; --page runs none and only writes the page.
// A yaml is a recipe's configuration; its first comment lines may say `recipe: NAME` (default: the file's name), `data: FOLDER`
// (under --data, default ../shared/data; `sample`: what --sample generates; without it the recipe reads no files) and
// `figures: NAME...` (what its row shows).
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CONFIGS = join(ROOT, 'examples/recipes');
const RUNS = join(ROOT, 'runs/recipes');
const DEFAULT_FIGURES = 4;
const SAMPLE = 'sample';

const { values, positionals: wanted } = parseArgs({
  options: {
    data: { type: 'string', default: join(ROOT, '../shared/data') },
    page: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
const recipes = readdirSync(CONFIGS)
  .filter((file) => file.endsWith('.yaml'))
  .sort()
  .map(readRecipe);
const unknown = wanted.filter((name) => !recipes.some((one) => one.name === name));
if (unknown.length > 0) {
  process.stderr.write(
    `no such recipe: ${unknown.join(', ')}; there are ${recipes.map(({ name }) => name).join(', ')}\n`,
  );
  process.exit(2);
}

const problems = new Map();
for (const recipe of recipes) {
  if (values.page || (wanted.length > 0 && !wanted.includes(recipe.name))) continue;
  const problem = run(recipe);
  if (problem !== undefined) problems.set(recipe.name, problem);
}
const page = write(new Date().toISOString().slice(0, 10));
process.stdout.write(`\n${page.summary}\n\nwritten to ${page.file}\n`);
process.exitCode = [...problems.values()].some((problem) => problem.startsWith('failed')) ? 1 : 0;

function readRecipe(file) {
  const path = join(CONFIGS, file);
  const text = readFileSync(path, 'utf8');
  const noted = (key) => text.match(new RegExp(`^# ${key}: *(.+)`, 'm'))?.[1].trim();
  const name = basename(file, '.yaml');
  return {
    name,
    path,
    out: join(RUNS, name),
    trainer: noted('recipe') ?? name,
    data: noted('data'),
    figures: noted('figures')?.split(/[\s,]+/),
  };
}

/** What is wrong, if anything is. */
function run({ path, out, trainer, data: folder }) {
  const isSample = folder === SAMPLE;
  const data = folder === undefined || isSample ? undefined : resolve(values.data, folder);
  if (data !== undefined && !existsSync(data))
    return `skipped: there is no ${data}; name the data's folder with --data`;
  rmSync(out, { recursive: true, force: true });
  const flags = ['--workers', '2', '--config', path, '--out', out, '--log-dir', join(out, 'logs')];
  if (data !== undefined) flags.push('--data', data);
  if (isSample) flags.push('--sample');
  const merak = join(ROOT, 'bin/merak.mjs');
  const { status, signal } = spawnSync(process.execPath, [merak, 'train', trainer, ...flags], { stdio: 'inherit' });
  return status === 0 ? undefined : `failed: ${signal ?? `exit status ${status}`}`;
}

function write(day) {
  const folder = join(ROOT, 'results', day);
  const rows = [];
  const sections = [];
  let seconds = 0;
  let machine = '';
  for (const recipe of recipes) {
    const { name, out, figures: shown } = recipe;
    const problem = problems.get(name);
    const file = join(out, 'results.json');
    if (problem !== undefined || !existsSync(file)) {
      if (problem !== undefined) rows.push(`| ${name} | - | - | - | ${problem} |`);
      continue;
    }
    const results = JSON.parse(readFileSync(file, 'utf8'));
    seconds += results.seconds;
    machine = `${results.machine.cpu}, ${results.machine.cores} cores, Node ${results.machine.node}`;
    const keys = shown ?? Object.keys(results.figures).slice(0, DEFAULT_FIGURES);
    const text = keys.map((key) => `${key} ${Number(results.figures[key]?.toPrecision(4))}`).join('; ');
    const [date, commit] = [results.date.slice(0, 16).replace('T', ' '), results.commit ?? '-'];
    rows.push(`| [${name}](#${name}) | ${date} | ${commit} | ${Math.round(results.seconds)} | ${text} |`);
    sections.push(...sectionOf(recipe, results, join(folder, name)));
  }
  const summary = ['| recipe | date (UTC) | commit | s | figures |', '|---|---|---|---:|---|', ...rows].join('\n');
  const intro = `Two workers on ${machine}; ${Math.round(seconds)} s together. A commit with + had changes that were not committed.`;
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'recipes.md');
  writeFileSync(file, `${['# Recipes', intro, summary, ...sections].join('\n\n')}\n`);
  return { summary, file };
}

/** A recipe's tables and pictures; these lie in `pictures`. */
function sectionOf({ name, out }, { tables, plots }, pictures) {
  rmSync(pictures, { recursive: true, force: true });
  mkdirSync(pictures, { recursive: true });
  for (const plot of plots) cpSync(join(out, plot), join(pictures, plot));
  const texts = Object.keys(tables).map((table) =>
    readFileSync(join(out, `${table}.md`), 'utf8').replace(/^## /, '### '),
  );
  return [
    `## ${name}`,
    ...texts.map((text) => text.trim()),
    ...plots.map((plot) => `![${name}: ${plot}](${name}/${plot})`),
  ];
}
