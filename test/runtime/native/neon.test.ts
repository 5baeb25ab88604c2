/** The vector kernels for another processor: with Debian's g++-aarch64-linux-gnu they compile, and to NEON instructions. Nothing is run. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const COMPILER = 'aarch64-linux-gnu-g++';
const isThere = spawnSync(COMPILER, ['--version']).status === 0;
if (!isThere)
  process.stderr.write(`neon.test.ts: SKIPPED, there is no ${COMPILER} (apt-get install g++-aarch64-linux-gnu)\n`);

/** As native/CMakeLists.txt compiles them. */
const FLAGS = [
  '-std=c++20',
  '-Inative',
  '-fopenmp',
  '-fno-math-errno',
  '-fno-trapping-math',
  '-ffp-contract=fast',
  '-Wno-psabi',
];

function compile(file: string, ...flags: string[]): string {
  const options = { encoding: 'utf8', maxBuffer: 1 << 28 } as const;
  const { status, stdout, stderr } = spawnSync(COMPILER, [...FLAGS, ...flags, file], options);
  expect(status, stderr).toBe(0);
  return stdout;
}

const sources = (folder: string) => readdirSync(folder).filter((name) => name.endsWith('.cpp'));

describe.skipIf(!isThere)('for 64-bit ARM', () => {
  it.each(sources('native/ops/cpu/isa'))('ops/cpu/isa/%s', (name) => {
    const assembly = compile(join('native/ops/cpu/isa', name), '-O3', '-DMERAK_ISA=isa_generic', '-S', '-o', '-');
    // Registers of four 32-bit lanes.
    expect(assembly.match(/\bv\d+\.4s\b/g)?.length ?? 0).toBeGreaterThan(10);
  });

  // Its waits tell processors apart.
  it.each(sources('native/comm'))('comm/%s', (name) => {
    compile(join('native/comm', name), '-fsyntax-only');
  });
});
