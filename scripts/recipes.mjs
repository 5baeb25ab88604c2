// npm run recipes -- [NAME...] [--data DIR]: every examples/recipes/*.yaml on 2 workers; one dated page with its tables and pictures in results/.
// A yaml is a recipe's configuration; its first comment lines may say `recipe: NAME` (default: the file's name) and
// `data: FOLDER` (under --data, default ../shared/data; without it the recipe generates its data).
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CONFIGS = join(ROOT, 'examples/recipes');
const { values, positionals: wanted } = parseArgs({
  options: { data: { type: 'string', default: join(ROOT, '../shared/data') } },
  allowPositionals: true,
});
const day = new Date().toISOString().slice(0, 10);
const results = join(ROOT, 'results', day);
const lines = [`# Recipes, ${day}`, '', '| recipe | s | figures |', '|---|---:|---|'];
const sections = [];
let failures = 0;

for (const file of readdirSync(CONFIGS)
  .filter((name) => name.endsWith('.yaml'))
  .sort()) {
  const name = basename(file, '.yaml');
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const text = readFileSync(join(CONFIGS, file), 'utf8');
  const noted = (key) => text.match(new RegExp(`^# ${key}: *(\\S+)`, 'm'))?.[1];
  const folder = noted('data');
  const data = folder === undefined ? undefined : resolve(values.data, folder);
  if (data !== undefined && !existsSync(data)) {
    lines.push(`| ${name} | - | skipped: no ${data} |`);
    continue;
  }
  const out = join(ROOT, 'runs/recipes', name);
  rmSync(out, { recursive: true, force: true });
  const flags = ['--workers', '2', '--config', join(CONFIGS, file), '--out', out];
  if (data !== undefined) flags.push('--data', data);
  const recipe = noted('recipe') ?? name;
  const { status } = spawnSync(process.execPath, [join(ROOT, 'bin/merak.mjs'), 'train', recipe, ...flags], {
    stdio: 'inherit',
  });
  if (status !== 0) {
    failures++;
    lines.push(`| ${name} | - | failed with exit status ${status} |`);
    continue;
  }
  const { seconds, figures, plots, tables } = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8'));
  const shown = Object.entries(figures).slice(0, 4);
  const figureText = shown.map(([key, value]) => `${key} ${Number(value.toPrecision(4))}`).join('; ');
  lines.push(`| [${name}](#${name}) | ${Math.round(seconds)} | ${figureText} |`);
  mkdirSync(join(results, name), { recursive: true });
  for (const plot of plots) cpSync(join(out, plot), join(results, name, plot));
  sections.push(`\n## ${name}\n`);
  for (const table of Object.keys(tables)) {
    sections.push(readFileSync(join(out, `${table}.md`), 'utf8').replace(/^## /, '### '));
  }
  sections.push(...plots.map((plot) => `![${name}: ${plot}](${name}/${plot})\n`));
}

mkdirSync(results, { recursive: true });
writeFileSync(join(results, 'recipes.md'), `${[...lines, ...sections].join('\n')}\n`);
process.stdout.write(`${lines.join('\n')}\n\nwritten to ${join(results, 'recipes.md')}\n`);
process.exitCode = failures === 0 ? 0 : 1;
