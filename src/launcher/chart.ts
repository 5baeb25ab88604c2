/** Charts as files: a Vega-Lite specification drawn to SVG. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { TopLevelSpec } from 'vega-lite';
import { MerakError } from '../errors.js';

/** The specification as SVG text. */
export async function renderSvg(spec: TopLevelSpec): Promise<string> {
  // Loaded here: drawing is rare and Vega large.
  const [{ compile }, { parse, View, Warn }] = await Promise.all([import('vega-lite'), import('vega')]);
  const view = new View(parse(compile(spec).spec), { renderer: 'none', logLevel: Warn });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

/** Writes a command's result. @throws MerakError 'config/invalid' naming the flag when the place cannot be written. */
export async function writeResult(flag: string, path: string, text: string): Promise<void> {
  const file = resolve(path);
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  } catch (cause) {
    throw new MerakError('config/invalid', `cannot write ${file}: ${cause instanceof Error ? cause.message : cause}`, {
      path: `command line: ${flag}`,
      cause,
      hint: 'name a file in a folder that can be written',
    });
  }
}
