/** A launched script imports tfjs with the same names and the same values as under plain Node, and the same tfjs as `require` has. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LAUNCH = ['--import', 'tsx', join(ROOT, 'test/launcher/cli.ts'), 'launch'];

const SCRIPT = `
import byDefault, * as tf from '@tensorflow/tfjs';
import { add } from '@tensorflow/tfjs-core';
import { createRequire } from 'node:module';
const required = createRequire(import.meta.url)('@tensorflow/tfjs');
console.log(JSON.stringify({
  names: Object.keys(tf).sort(),
  differing: Object.keys(tf).filter((name) => name !== 'default' && tf[name] !== required[name]),
  one: byDefault === required && add === required.add,
}));
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'merak-commonjs-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** The last line that the script prints, run by node with `args` before it. */
function said(args: readonly string[], script: string): string | undefined {
  const path = join(folder, 'script.mjs');
  writeFileSync(path, script);
  return execFileSync(process.execPath, [...args, path], { cwd: ROOT, encoding: 'utf8' })
    .trim()
    .split('\n')
    .at(-1);
}

it('with the names, values and identity that plain Node gives', () => {
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const launched = JSON.parse(said(LAUNCH, SCRIPT)!);
  expect(launched).toEqual(JSON.parse(said([], SCRIPT)!));
  expect(launched).toMatchObject({ differing: [], one: true });
  expect(launched.names.length).toBeGreaterThan(400);
});

it('and a script without tfjs runs all the same', () => {
  expect(said(LAUNCH, `console.log('ran');`)).toBe('ran');
});
