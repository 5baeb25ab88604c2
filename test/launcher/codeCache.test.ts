/** Large CommonJS modules are compiled from kept code: the same exports, fresh text wins, damage does not matter. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { withCodeCache } from '../../src/launcher/codeCache.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'merak-code-'));
  writeFileSync(join(folder, 'small.js'), 'exports.name = require("node:path").basename(__filename);');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const kept = () => join(folder, 'kept');
const files = () => readdirSync(kept());
const PADDING = `// ${'x'.repeat(300_000)}\n`;

function write(answer: number): void {
  const body = `exports.answer = () => ${answer};\nexports.own = require('./small.js').name;\nexports.here = [__filename, __dirname, this === exports, module.id];`;
  writeFileSync(join(folder, 'large.js'), PADDING + body);
}

function load(): { answer(): number; own: string; here: unknown[] } {
  const require = createRequire(join(folder, 'script.js'));
  const path = join(folder, 'large.js');
  delete require.cache[path];
  return withCodeCache(() => require(path), kept());
}

it('keeps code, and what runs of it is what would run without', () => {
  write(41);
  const path = join(folder, 'large.js');
  for (let turn = 0; turn < 2; turn++) {
    const { answer, own, here } = load();
    expect([answer(), own]).toEqual([41, 'small.js']);
    expect(here).toEqual([path, folder, true, path]);
    expect(files()).toHaveLength(1);
  }
});

it('compiles a text of the same length anew, and in place of code that is damaged', () => {
  write(41);
  load();
  write(42);
  utimesSync(join(folder, 'large.js'), 1, 1);
  expect(load().answer()).toBe(42);
  expect(files()).toHaveLength(2);
  for (const file of files()) writeFileSync(join(kept(), file), 'no code');
  // Under the same name, because V8 itself remembers what this process has compiled.
  write(43);
  utimesSync(join(folder, 'large.js'), 1, 1);
  expect(load().answer()).toBe(43);
  expect(Math.max(...files().map((file) => readFileSync(join(kept(), file)).length))).toBeGreaterThan(100);
});

it('goes on where nothing can be kept', () => {
  write(41);
  writeFileSync(kept(), 'a file where the folder would be');
  expect(load().answer()).toBe(41);
});
