// `npm run gpu`: build, check and measure on a machine with a GPU, in one call of under nine minutes that leaves a report however it ends.
// Usage: node scripts/gpu.mjs [--out folder] [--seconds 530] [--only name,name] [--dry-run]
// --dry-run: on a machine without a GPU, every step up to the first CUDA call, then the stand-in libraries of the tests in CUDA's place.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { toMarkdown } from './gpu/report.mjs';
import { sections } from './gpu/sections.mjs';

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
const commit = commitOf();
const report = { date, commit, dry, sections: [] };
const save = () => {
  writeFileSync(`${stem}.json`, `${JSON.stringify(report, null, 1)}\n`);
  writeFileSync(`${stem}.md`, toMarkdown(report));
};
const say = (text) => process.stdout.write(`gpu: [${elapsed().toFixed(0)} s] ${text}\n`);

/** The environment of every child: on a card the tests of CUDA take it in place of their stand-ins. */
const environment = { ...process.env, ...(dry ? await standIns() : { MERAK_TEST_GPU: '1' }) };
const python = process.env.MERAK_TORCH_PYTHON ?? 'python3';
let sectionEnd = 0;
const left = () => Math.min(sectionEnd, total) - elapsed();

async function standIns() {
  const { register } = await import('tsx/esm/api');
  const unregister = register();
  const { standInEnvironment } = await import('../test/standin/build.ts');
  await unregister();
  const { MERAK_CUDA_LIBRARIES, MERAK_STANDIN_CACHE } = standInEnvironment();
  return { MERAK_CUDA_LIBRARIES, MERAK_STANDIN_CACHE };
}

/** Standard output of a command that ends well within the section's time; it is killed with its children else. `optional`: undefined on failure. */
function run(command, args, { optional = false, env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...environment, ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let printed = '';
    let complained = '';
    let isLate = false;
    const timer = setTimeout(
      () => {
        isLate = true;
        try {
          process.kill(-child.pid, 'SIGKILL');
        } catch {} // it ended at this very moment
      },
      Math.max(1, left() * 1000),
    );
    child.stdout.on('data', (data) => {
      printed += data;
    });
    child.stderr.on('data', (data) => {
      complained += data;
    });
    const fail = (message) => {
      clearTimeout(timer);
      if (optional) resolve(undefined);
      else reject(new Error(message));
    };
    child.on('error', (error) => fail(`${command}: ${error.message}`));
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      if (status === 0) return resolve(printed.trim());
      const tail = `${complained}\n${printed}`.trim().split('\n').slice(-25).join('\n');
      fail(`${command} ended with ${isLate ? 'its time' : (signal ?? `status ${status}`)}: ${tail}`);
    });
  });
}

const lastLine = (text) => JSON.parse(text.split('\n').at(-1));
const context = {
  root,
  dry,
  // The engine that stands in for the card where there is none.
  device: dry ? 'native' : 'cuda',
  python,
  run,
  say,
  left,
  env: environment,
  results: {},
  torch: async (job) => lastLine(await run(python, ['bench/torch/gpu.py', JSON.stringify(job)])),
  merak: async (job) =>
    lastLine(await run(process.execPath, ['--import', 'tsx', 'bench/gpu/train.ts', JSON.stringify(job)])),
  kernels: async (job) =>
    lastLine(await run(process.execPath, ['--import', 'tsx', 'bench/gpu/kernels.ts', JSON.stringify(job)])),
  async vitest(files) {
    if (files.length === 0) return { skipped: 'no such tests in this tree' };
    const json = join(values.out, 'vitest.json');
    rmSync(json, { force: true });
    const args = ['node_modules/vitest/vitest.mjs', 'run', '--reporter=json', `--outputFile=${json}`, ...files];
    let problem;
    await run(process.execPath, args).catch((error) => {
      problem = error;
    });
    const { numPassedTests, numFailedTests, numPendingTests, testResults } = readJson(json) ?? {};
    rmSync(json, { force: true });
    if (testResults === undefined) throw problem ?? new Error('vitest left no results');
    const failures = testResults.flatMap(({ assertionResults }) =>
      assertionResults
        .filter(({ status }) => status === 'failed')
        .map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages[0]?.split('\n')[0]}`),
    );
    return { files, numPassed: numPassedTests, numFailed: numFailedTests, numSkipped: numPendingTests, failures };
  },
};

/** Of the working tree; a carried one says it in a file (scripts/gpu-pack.mjs). */
function commitOf() {
  const { status, stdout } = spawnSync('git', ['describe', '--always', '--dirty'], { cwd: root, encoding: 'utf8' });
  const carried = join(root, '.gpu/commit');
  if (status === 0) return stdout.trim();
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
for (const section of sections) {
  if (values.only !== undefined && !values.only.split(',').includes(section.name)) continue;
  const entry = { name: section.name, status: 'running', seconds: 0 };
  report.sections.push(entry);
  const began = elapsed();
  sectionEnd = began + section.budget;
  if (isStuck || total - began < 10) {
    entry.status = isStuck ? 'not tried' : 'no time left';
    save();
    continue;
  }
  say(section.name);
  try {
    const partly = (result) => {
      entry.result = result;
      save();
    };
    entry.result = await section.work({ ...context, save: partly });
    context.results[section.name] = entry.result;
    const { numFailed = 0, skipped } = entry.result;
    entry.status = skipped ? `skipped (${skipped})` : numFailed > 0 ? 'failed' : 'ok';
    if (numFailed > 0) entry.error = entry.result.failures[0];
  } catch (error) {
    entry.status = 'failed';
    entry.error = error.message;
    isStuck = section.needed === true;
    say(`${section.name} failed: ${error.message}`);
  }
  entry.seconds = elapsed() - began;
  save();
}
process.stdout.write(`\n${toMarkdown(report)}\ngpu: ${stem}.md, ${stem}.json\n`);
process.exitCode = report.sections.some(({ status }) => status === 'failed') ? 1 : 0;
