// Compiles every CUDA source for sm_80 and sm_90 with warnings as errors and no register spilled beyond its budget; needs nvcc, no GPU.
// Part of `npm test`. Results are kept in build/check-cuda by what they were made from. Usage: node scripts/check-cuda.mjs [source ...]
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chains, variants } from './cuda-variants.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const folder = join(root, 'native', 'ops', 'cuda');
const kept = join(root, 'build', 'check-cuda');
const ARCHITECTURES = ['sm_80', 'sm_90'];
/** Registers a thread has at most; a kernel at the limit without spills is well. */
const OPTIONS = ['-std=c++17', '-cubin', '-Xptxas', '-v', '-Werror', 'all-warnings'];

/** The sources' own texts: a change in any of them compiles all again. */
const texts = () =>
  [folder, join(folder, 'device')]
    .flatMap((place) =>
      readdirSync(place)
        .filter((name) => /\.cuh?$/.test(name))
        .map((name) => join(place, name)),
    )
    .sort()
    .map((file) => readFileSync(file, 'utf8'));

function jobs(only) {
  const written = variants
    .filter(({ source }) => only.length === 0 || only.includes(source))
    .map((variant) => ({ ...variant, file: join(folder, `${variant.source}.cu`) }));
  const missing = readdirSync(folder)
    .filter((name) => name.endsWith('.cu'))
    .map((name) => name.slice(0, -3))
    .filter((name) => !variants.some(({ source }) => source === name));
  if (missing.length > 0) throw new Error(`scripts/cuda-variants.mjs has no variant of ${missing.join(', ')}`);
  const addon = join(root, 'build', 'merak.node');
  if (only.length > 0 || !existsSync(addon)) return written;
  const { cudaChainSource } = createRequire(import.meta.url)(addon);
  mkdirSync(kept, { recursive: true });
  return written.concat(
    chains.map((node, index) => {
      const file = join(kept, `chain${index}.cu`);
      writeFileSync(file, cudaChainSource(node));
      return { source: `chain of ${node.kernel}`, macros: node.macros ?? {}, file, text: cudaChainSource(node) };
    }),
  );
}

function nvcc(args) {
  return new Promise((done) => {
    const child = spawn('nvcc', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (data) => (output += data));
    child.stderr.on('data', (data) => (output += data));
    child.on('close', (status) => done({ status, output }));
  });
}

/** What is wrong with a compiled variant, or null. */
function problemOf({ status, output }, { spills = 0 }) {
  if (status !== 0) return output.trim();
  const most = Math.max(
    0,
    ...[...output.matchAll(/(\d+) bytes spill (?:stores|loads)/g)].map(([, bytes]) => Number(bytes)),
  );
  return most > spills ? `spills ${most} bytes of registers, its budget is ${spills}` : null;
}

async function check(job, architecture, key) {
  const id = createHash('sha256')
    .update(JSON.stringify([key, job.source, job.macros, job.text ?? '', job.spills ?? 0, architecture]))
    .digest('hex');
  const stamp = join(kept, id);
  if (existsSync(stamp)) return null;
  const macros = Object.entries(job.macros).map(([name, value]) => `-D${name}=${value}`);
  const made = await nvcc([...OPTIONS, `-arch=${architecture}`, '-I', folder, ...macros, job.file, '-o', '/dev/null']);
  const problem = problemOf(made, job);
  if (problem === null) writeFileSync(stamp, made.output);
  return problem && `${job.source} (${architecture}, ${macros.join(' ')}): ${problem}`;
}

/** Problems found, one text each; null where there is no nvcc. */
export async function checkCuda(only = []) {
  const version = spawnSync('nvcc', ['--version'], { encoding: 'utf8' });
  if (version.status !== 0) return null;
  mkdirSync(kept, { recursive: true });
  const key = createHash('sha256')
    .update(JSON.stringify([version.stdout, OPTIONS, texts()]))
    .digest('hex');
  const waiting = jobs(only).flatMap((job) => ARCHITECTURES.map((architecture) => [job, architecture]));
  const problems = [];
  const work = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) problems.push(await check(...next, key));
  };
  await Promise.all(cpus().map(work));
  return problems.filter((problem) => problem !== null);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problems = await checkCuda(process.argv.slice(2));
  if (problems === null) console.log('SKIPPED: no nvcc here, the CUDA sources were not compiled');
  else if (problems.length === 0)
    console.log(`CUDA sources compile for ${ARCHITECTURES.join(' and ')} without warnings or spills past their budget`);
  for (const problem of problems ?? []) console.error(problem);
  process.exitCode = problems?.length ? 1 : 0;
}
