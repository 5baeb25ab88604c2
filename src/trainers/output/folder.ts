/** The folder a recipe writes to, and what of it goes into results.json. */
import { mkdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { OutputFolder, Table } from '../context.js';
import { writeAtomically } from '../run/folders.js';
import { markdownTable } from './markdown.js';
import { drawSvg } from './svg.js';

export interface RecordedOutput extends OutputFolder {
  /** By name, in the order of writing. */
  readonly tables: ReadonlyMap<string, Table>;
  readonly plots: readonly string[];
}

export function openOutput(folder: string): RecordedOutput {
  const root = resolve(folder);
  const tables = new Map<string, Table>();
  const plots: string[] = [];
  return {
    folder: root,
    tables,
    plots,
    async path(file) {
      const path = join(root, file);
      await mkdir(dirname(path), { recursive: true });
      return path;
    },
    text: (file, content) => writeAtomically(join(root, file), content),
    json: (file, value) => writeAtomically(join(root, file), `${JSON.stringify(value, null, 1)}\n`),
    async table(name, table) {
      tables.set(name, table);
      await writeAtomically(join(root, `${name}.md`), markdownTable(table));
    },
    async plot(name, spec) {
      plots.push(`${name}.svg`);
      await writeAtomically(join(root, `${name}.svg`), await drawSvg(spec));
    },
  };
}
