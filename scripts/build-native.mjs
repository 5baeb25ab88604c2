// Builds build/merak.node from native/ when anything there changed. Usage: node scripts/build-native.mjs [--force] [--clean]
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const source = join(root, 'native');
const work = join(root, 'build', 'native');
const target = join(root, 'build', 'merak.node');

/** Newest modification time below a folder, in milliseconds. */
function newest(folder) {
  let latest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    latest = Math.max(latest, entry.isDirectory() ? newest(path) : statSync(path).mtimeMs);
  }
  return latest;
}

function nodeHeaders() {
  const beside = resolve(process.execPath, '../../include/node');
  for (const folder of [beside, '/usr/include/node', '/usr/include/nodejs/src']) {
    if (existsSync(join(folder, 'node_api.h'))) return folder;
  }
  throw new Error(`Node's headers (node_api.h) are neither in ${beside} nor in /usr/include/node; install libnode-dev`);
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' });
  if (error) throw new Error(`${command} cannot be run (${error.message}); install cmake and a C++20 compiler`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with status ${status}`);
}

function hasNinja() {
  return spawnSync('ninja', ['--version'], { stdio: 'ignore' }).status === 0;
}

export function buildNative({ force = false, clean = false } = {}) {
  if (!force && !clean && existsSync(target) && statSync(target).mtimeMs > newest(source)) return target;
  if (clean) rmSync(work, { recursive: true, force: true });
  const started = Date.now();
  mkdirSync(work, { recursive: true });
  const addonApi = dirname(createRequire(join(root, 'package.json')).resolve('node-addon-api/package.json'));
  const generator = !existsSync(join(work, 'CMakeCache.txt')) && hasNinja() ? ['-G', 'Ninja'] : [];
  run('cmake', [
    '-S',
    source,
    '-B',
    work,
    ...generator,
    `-DNODE_INCLUDE_DIR=${nodeHeaders()}`,
    `-DNODE_ADDON_API_DIR=${addonApi}`,
  ]);
  run('cmake', ['--build', work, '--parallel', String(cpus().length)]);
  // Replaced by rename: a process that has the old one mapped keeps it.
  const fresh = `${target}.${process.pid}`;
  copyFileSync(join(work, 'merak.node'), fresh);
  renameSync(fresh, target);
  console.log(`built ${target} in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  return target;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    buildNative({ force: process.argv.includes('--force'), clean: process.argv.includes('--clean') });
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
