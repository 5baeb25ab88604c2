/** Loads a recipe of the user's own: the default export of a module. */
import { statSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MerakError } from '../errors.js';
import type { Trainer } from '../trainers/trainer.js';
import { registerTypescript } from './typescript.js';

/** @throws MerakError trainer/plugin */
export async function loadPlugin(file: string): Promise<Trainer> {
  const path = resolve(file);
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
    throw new MerakError('trainer/plugin', `there is no file ${file}`, { path, expected: 'a .ts or .js module' });
  }
  await registerTypescript(extname(path));
  const module = await (import(pathToFileURL(path).href) as Promise<{ default?: unknown }>).catch((cause: unknown) => {
    throw new MerakError('trainer/plugin', `the plugin cannot be loaded: ${(cause as Error).message}`, { path, cause });
  });
  const missing = missingParts(module.default);
  if (missing.length === 0) return module.default as Trainer;
  throw new MerakError('trainer/plugin', 'the default export of the plugin is no trainer', {
    path,
    expected: 'export default merak.defineTrainer({ name, description, config, prepare, run, evaluate })',
    received: `without ${missing.join(', ')}`,
  });
}

function missingParts(value: unknown): string[] {
  const parts = (typeof value === 'object' && value !== null ? value : {}) as Readonly<Record<string, unknown>>;
  const isSchema = typeof (parts.config as { safeParse?: unknown } | undefined)?.safeParse === 'function';
  return [
    ...['name', 'description'].filter((key) => typeof parts[key] !== 'string'),
    ...(isSchema ? [] : ['config (a zod object)']),
    ...['prepare', 'run', 'evaluate'].filter((key) => typeof parts[key] !== 'function'),
  ];
}
