// Brings a fresh clone to a working tree: system packages, npm packages, native addon, TypeScript. Each step looks first
// and does nothing when its result is there, so that running it again takes well under three seconds.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const stamps = join(root, '.setup');

/** Debian packages and how to see that each is there. */
const SYSTEM = [
  { apt: 'cmake', present: () => runs('cmake', ['--version']) },
  { apt: 'g++', present: () => runs('c++', ['--version']) },
  { apt: 'make', present: () => runs('make', ['--version']) || runs('ninja', ['--version']) },
  {
    apt: 'libdnnl-dev',
    present: () => ['/usr/include', '/usr/local/include'].some((dir) => existsSync(join(dir, 'oneapi/dnnl/dnnl.hpp'))),
  },
];

function runs(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

function must(title, command, args, hint) {
  process.stdout.write(`setup: ${title}\n`);
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status === 0) return;
  process.stderr.write(
    `setup: failed: ${command} ${args.join(' ')}${error ? ` (${error.message})` : ''}\n  hint: ${hint}\n`,
  );
  process.exit(1);
}

function* filesUnder(path) {
  if (!existsSync(path)) return;
  if (statSync(path).isFile()) return void (yield path);
  for (const name of readdirSync(path).sort()) yield* filesUnder(join(path, name));
}

function fingerprint(paths) {
  const hash = createHash('sha256').update(`${process.version} ${process.arch}`);
  for (const path of paths.flatMap((p) => [...filesUnder(join(root, p))])) hash.update(path).update(readFileSync(path));
  return hash.digest('hex');
}

/** Runs `work` unless it already ran on these inputs and its result is still there. */
function step(name, inputs, result, work) {
  const stamp = join(stamps, name);
  const now = fingerprint(inputs);
  if (existsSync(join(root, result)) && existsSync(stamp) && readFileSync(stamp, 'utf8') === now) return;
  work();
  mkdirSync(stamps, { recursive: true });
  writeFileSync(stamp, now);
}

function installSystemPackages() {
  const missing = SYSTEM.filter(({ present }) => !present()).map(({ apt }) => apt);
  if (missing.length === 0) return;
  const hint = `as root: apt-get install ${missing.join(' ')}`;
  if (process.getuid?.() !== 0 || !runs('apt-get', ['--version'])) {
    process.stderr.write(`setup: missing ${missing.join(', ')}\n  hint: ${hint}\n`);
    process.exit(1);
  }
  must('apt-get update', 'apt-get', ['update', '-qq'], hint);
  must(
    `apt-get install ${missing.join(' ')}`,
    'apt-get',
    ['install', '-y', '-qq', '--no-install-recommends', ...missing],
    hint,
  );
}

installSystemPackages();
// Install scripts of dependencies are not needed: every package ships what it uses.
step('npm', ['package.json', 'package-lock.json'], 'node_modules/typescript', () =>
  must('npm ci', 'npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], 'is the npm registry reachable?'),
);
step('native', ['native', 'scripts/build-native.mjs', 'package-lock.json'], 'build/merak.node', () =>
  must('native engine', process.execPath, ['scripts/build-native.mjs'], 'see the compiler output above'),
);
const sources = ['src', 'bin', 'proto', 'tsconfig.json', 'scripts/bundle.mjs', 'package-lock.json'];
step('typescript', sources, 'dist/index.js', () => {
  const hint = 'see the compiler output above';
  must('TypeScript', process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'], hint);
  must('bundle', process.execPath, ['scripts/bundle.mjs'], hint);
});
