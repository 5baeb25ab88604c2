// Native tests under sanitizers, without Node: the engine and its kernels (address, undefined), the communicators (thread).
// Usage: node scripts/test-native.mjs [address|thread] [part of a test's name ...]
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
/** A finding ends the process with a status of its own; oneDNN, libgomp and C++'s own tables are not ours to free. */
const ENVIRONMENT = {
  ASAN_OPTIONS: 'detect_leaks=0:allocator_may_return_null=1:abort_on_error=0:exitcode=99',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1:exitcode=99',
  TSAN_OPTIONS: 'halt_on_error=1:exitcode=99',
};
const LIMIT_SECONDS = 300;

function run(command, args, options = {}) {
  const { status, signal, error } = spawnSync(command, args, { stdio: 'inherit', ...options });
  if (error) throw new Error(`${command} cannot be run (${error.message}); install cmake and a C++20 compiler`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${signal ?? `status ${status}`}`);
}

/** Builds and runs the native tests under one sanitizer; throws when one fails or the sanitizer finds something. */
export function testNative(sanitizer, names = []) {
  const work = join(root, 'build', `native-${sanitizer}`);
  mkdirSync(work, { recursive: true });
  const fresh = !existsSync(join(work, 'CMakeCache.txt'));
  const ninja = fresh && spawnSync('ninja', ['--version'], { stdio: 'ignore' }).status === 0 ? ['-G', 'Ninja'] : [];
  const quiet = { stdio: ['ignore', 'ignore', 'inherit'] };
  run('cmake', ['-S', join(root, 'native'), '-B', work, ...ninja, `-DMERAK_SANITIZE=${sanitizer}`], quiet);
  run('cmake', ['--build', work, '--parallel', String(cpus().length)], quiet);
  run(join(work, 'merak-tests'), names, { env: { ...process.env, ...ENVIRONMENT }, timeout: LIMIT_SECONDS * 1000 });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [first, ...rest] = process.argv.slice(2);
  const chosen = first === 'address' || first === 'thread' ? [first] : ['address', 'thread'];
  const names = chosen.length === 1 ? rest : process.argv.slice(2);
  try {
    for (const sanitizer of chosen) testNative(sanitizer, names);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
