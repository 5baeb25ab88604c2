/** The folder a recipe reads from. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { MerakError } from '../../errors.js';
import type { DataFolder } from '../context.js';

/** @param howToGet what the message says when a file is absent */
export function openDataFolder(folder: string, howToGet: string): DataFolder {
  const root = resolve(folder);
  return {
    folder: root,
    path(file) {
      const path = resolve(root, file);
      if (statSync(path, { throwIfNoEntry: false })?.isFile() === true) return path;
      throw new MerakError('trainer/data', `the data folder has no ${file}`, {
        path,
        expected: `${file} under --data ${folder}`,
        hint:
          howToGet === '' ? 'name the folder that has it with --data' : `${howToGet}; then name its folder with --data`,
      });
    },
  };
}
