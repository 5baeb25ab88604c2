// `npm run gpu`: build, check and measure on a machine with a GPU, in one call of under nine minutes that leaves a report however it ends.
// Usage: node scripts/gpu.mjs [--out folder] [--seconds 530] [--only name,name] [--dry-run]
// --dry-run: on a machine without a GPU, every step up to the first CUDA call, then the stand-in libraries of the tests in CUDA's place.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { killAll, runCommand } from './gpu/command.mjs';
import { toMarkdown } from './gpu/report.mjs';
import { blocksOf, drySections, sections } from './gpu/sections.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    out: { type: 'string', default: process.env.OUT ?? join(root, 'runs/gpu') },
    seconds: { type: 'string', default: '530' },
    only: { type: 'string' },
    'dry-run': { type: 'boolean', default: false },
  },
});
const dry = values['dry-run'];
const started = Date.now();
const elapsed = () => (Date.now() - started) / 1000;
const total = Number(values.seconds);
mkdirSync(values.out, { recursive: true });

const date = new Date().toISOString().slice(0, 10);
const stem = join(values.out, `${date}-gpu${dry ? '-dry-run' : ''}`);
const report = { date, commit: commitOf(), dry, sections: [] };
const save = () => {
  writeFileSync(`${stem}.json`, `${JSON.stringify(report, null, 1)}\n`);
  writeFileSync(`${stem}.md`, toMarkdown(report));
};
const say = (text) => process.stdout.write(`gpu: [${elapsed().toFixed(0)} s] ${text}\n`);

/** The environment of every child: on a card the tests of CUDA take it in place of their stand-ins. */
const environment = { ...process.env, ...(dry ? await standIns() : { MERAK_TEST_GPU: '1' }) };
const python = process.env.MERAK_TORCH_PYTHON ?? 'python3';
const results = {};
const scratch = mkdtempSync(join(tmpdir(), 'merak-gpu-'));

async function standIns() {
  const { register } = await import('tsx/esm/api');
  const unregister = register();
  const { standInEnvironment } = await import('../test/standin/build.ts');
  await unregister();
  const { MERAK_CUDA_LIBRARIES, MERAK_STANDIN_CACHE } = standInEnvironment();
  return { MERAK_CUDA_LIBRARIES, MERAK_STANDIN_CACHE };
}

/** What a section works with; `end` is when its time is up. */
function contextOf(section, end, saveResult) {
  const left = () => end - elapsed();
  const run = (command, args, { optional, env = {} } = {}) =>
    runCommand(command, args, { cwd: root, env: { ...environment, ...env }, seconds: left(), optional });
  const folder = (name) => {
    const path = join(scratch, `${section.name}-${name}`.replaceAll(/[^\w.-]/g, '-'));
    mkdirSync(path, { recursive: true });
    return path;
  };
  /** A program that gets a job as JSON and prints its answer as the last line. */
  const job = async (command, args, about, { niceness = 0 } = {}) => {
    const line = [...(niceness > 0 ? ['nice', '-n', `${niceness}`] : []), command, ...args, JSON.stringify(about)];
    return JSON.parse((await run(line[0], line.slice(1))).split('\n').at(-1));
  };
  const script = (file) => (about, options) => job(process.execPath, ['--import', 'tsx', file], about, options);
  return {
    root,
    dry,
    // The engine that stands in for the card where there is none.
    device: dry ? 'native' : 'cuda',
    python,
    run,
    say,
    left,
    results,
    folder,
    save: saveResult,
    torch: (about, options) => job(python, ['bench/torch/gpu.py'], about, options),
    merak: script('bench/gpu/train.ts'),
    kernels: script('bench/gpu/kernels.ts'),
    vitest: (files) => vitest(run, folder('vitest'), files),
  };
}

async function vitest(run, folder, files) {
  if (files.length === 0) return { skipped: 'no such tests in this tree' };
  const [json, errors] = [join(folder, 'results.json'), join(folder, 'errors.jsonl')];
  const workers = `--maxWorkers=${Math.max(2, availableParallelism() >> 1)}`;
  // The results are written at the end; the other reporter shows how far it came should its time end first.
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${json}`];
  const args = ['node_modules/vitest/vitest.mjs', 'run', workers, ...reporters, ...files];
  let problem;
  // Other numbers in every run; with MERAK_SEED set to this one the same again.
  const seed = Math.floor(Math.random() * 2 ** 31);
  await run(process.execPath, args, { env: { MERAK_KERNEL_ERRORS: errors, MERAK_SEED: `${seed}` } }).catch((error) => {
    problem = error;
  });
  const { numPassedTests, numFailedTests, numPendingTests, testResults } = readJson(json) ?? {};
  const relativeErrors = existsSync(errors)
    ? readFileSync(errors, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
    : [];
  if (testResults === undefined) throw problem ?? new Error('vitest left no results');
  const failures = testResults.flatMap(({ assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages[0]?.split('\n')[0]}`),
  );
  // A file that cannot even be read has no assertions.
  const broken = testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  );
  failures.push(...broken.map(({ name, message }) => `${name}: ${message.split('\n')[0]}`));
  const numFailed = numFailedTests + broken.length;
  return { files, seed, numPassed: numPassedTests, numFailed, numSkipped: numPendingTests, failures, relativeErrors };
}

/** Of the working tree; a carried one says it in a file (scripts/gpu-pack.mjs). */
function commitOf() {
  const { status, stdout } = spawnSync('git', ['describe', '--always', '--dirty'], { cwd: root, encoding: 'utf8' });
  if (status === 0) return stdout.trim();
  const carried = join(root, '.gpu/commit');
  return existsSync(carried) ? readFileSync(carried, 'utf8').trim() : 'unknown';
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

let isStuck = false;
async function perform(section) {
  const entry = { name: section.name, status: 'running', seconds: 0 };
  report.sections.push(entry);
  const began = elapsed();
  if (isStuck || total - began < 10) {
    entry.status = isStuck ? 'not tried' : 'no time left';
    return save();
  }
  say(section.name);
  const context = contextOf(section, Math.min(began + section.budget, total), (result) => {
    entry.result = result;
    save();
  });
  try {
    entry.result = await section.work(context);
    const { numFailed = 0, skipped } = entry.result;
    entry.status = skipped ? `skipped (${skipped})` : numFailed > 0 ? 'failed' : 'ok';
    if (numFailed > 0) entry.error = entry.result.failures[0];
  } catch (error) {
    entry.status = 'failed';
    entry.error = error.message;
    isStuck ||= section.needed === true;
    say(`${section.name} failed: ${error.message}`);
  }
  // What a section had when it failed is worth as much to those after it.
  results[section.name] = entry.result;
  entry.seconds = elapsed() - began;
  save();
}

function finish() {
  rmSync(scratch, { recursive: true, force: true });
  const code = report.sections.some(({ status }) => status === 'failed' || status === 'cut off') ? 1 : 0;
  process.stdout.write(`\n${toMarkdown(report)}\ngpu: ${stem}.md, ${stem}.json\n`, () => process.exit(code));
}

// Should a section not end with its time in spite of all, the report does.
const watchdog = setTimeout(
  () => {
    killAll();
    for (const entry of report.sections) if (entry.status === 'running') entry.status = 'cut off';
    save();
    finish();
  },
  (total + 10) * 1000,
);

const chosen = (dry ? drySections : sections).filter(
  ({ name }) => values.only === undefined || values.only.split(',').some((wanted) => name.startsWith(wanted)),
);
for (const block of blocksOf(chosen)) await Promise.all(block.map(perform));
clearTimeout(watchdog);
killAll();
finish();
