#!/usr/bin/env node
/** The `merak` command: runs dist/ where it is built, else the TypeScript sources of a checkout. */
import { existsSync } from 'node:fs';
import process from 'node:process';

const built = new URL('../dist/launcher/main.js', import.meta.url);
const source = new URL('../src/launcher/main.ts', import.meta.url);
if (!existsSync(built)) {
  const { register } = await import('tsx/esm/api');
  register();
}
const { main } = await import((existsSync(built) ? built : source).href);
const code = await main(process.argv);
if (code !== 0) process.exit(code);
