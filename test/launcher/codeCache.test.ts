/** Large CommonJS modules are compiled from kept code: the same exports, fresh text wins, damage does not matter. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { withCodeCache } from '../../src/launcher/codeCache.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'merak-code-'));
  writeFileSync(join(folder, 'small.js'), 'exports.name = require("node:path").basename(__filename);');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CODE_CACHE = pathToFileURL(join(ROOT, 'src/launcher/codeCache.ts')).href;
const kept = () => join(folder, 'kept');
const files = () => readdirSync(kept()).map((name) => join(kept(), name));
const PADDING = `// ${'x'.repeat(300_000)}\n`;

/** Always of one length and of one time, so that V8 and the name of what is kept see no difference. */
function write(answer: number): void {
  const path = join(folder, 'large.js');
  const body = `exports.answer = () => ${answer};\nexports.own = require('./small.js').name;\nexports.here = [__filename, __dirname, this === exports, module.id];`;
  writeFileSync(path, PADDING + body);
  utimesSync(path, 1, 1);
}

function load(): { answer(): number; own: string; here: unknown[] } {
  return withCodeCache(() => createRequire(join(folder, 'script.js'))('./large.js'), kept());
}

/** In a process of its own, because V8 remembers what it has compiled in this one. */
function answerElsewhere(): number {
  const script = `
    import { createRequire } from 'node:module';
    import { withCodeCache } from '${CODE_CACHE}';
    const require = createRequire('${join(folder, 'script.js')}');
    console.log(withCodeCache(() => require('./large.js'), '${kept()}').answer());`;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
  return Number(execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' }));
}

it('runs a module as it would be run without', () => {
  write(41);
  const { answer, own, here } = load();
  const path = join(folder, 'large.js');
  expect([answer(), own]).toEqual([41, 'small.js']);
  expect(here).toEqual([path, folder, true, path]);
  expect(files()).toHaveLength(1);
});

it('takes what another process kept, and keeps anew in the place of what is damaged', () => {
  write(41);
  expect(answerElsewhere()).toBe(41);
  const [file] = files();
  const { mtimeMs, size } = statSync(file!);
  expect(size).toBeGreaterThan(100);
  expect(answerElsewhere()).toBe(41);
  expect(statSync(file!).mtimeMs).toBe(mtimeMs);

  writeFileSync(file!, 'no code');
  expect(answerElsewhere()).toBe(41);
  expect(readFileSync(file!)).toHaveLength(size);
});

it('compiles a newer text of the same length', () => {
  write(41);
  expect(load().answer()).toBe(41);
  write(42);
  utimesSync(join(folder, 'large.js'), 2, 2);
  expect(answerElsewhere()).toBe(42);
  expect(files()).toHaveLength(2);
});

it('goes on where nothing can be kept', () => {
  write(41);
  writeFileSync(kept(), 'a file where the folder would be');
  expect(load().answer()).toBe(41);
});
