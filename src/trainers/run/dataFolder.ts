/** The folder a recipe reads from. */
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { MerakError } from '../../errors.js';
import type { DataFolder } from '../context.js';

/** Begins the name of a file that lies in an installed npm package. */
const INSTALLED = 'npm:';

/** @param howToGet what the message says when a file is absent */
export function openDataFolder(folder: string, howToGet: string): DataFolder {
  const root = resolve(folder);
  return {
    folder: root,
    path(file) {
      if (file.startsWith(INSTALLED)) return installed(file.slice(INSTALLED.length));
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

function installed(file: string): string {
  try {
    return createRequire(resolve('package.json')).resolve(file);
  } catch (cause) {
    const name = file
      .split('/')
      .slice(0, file.startsWith('@') ? 2 : 1)
      .join('/');
    throw new MerakError('trainer/data', `no installed package has ${file}`, {
      path: `${INSTALLED}${file}`,
      hint: `npm install ${name}`,
      cause,
    });
  }
}
