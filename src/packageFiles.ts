/** Where the files of this package lie, whether its sources run or the bundle that scripts/bundle.mjs makes of them. */
import { existsSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(import.meta.url);
const root = rootOf(dirname(here));

/** Through tsx or the test runner. */
export const runsSources = extname(here) === '.ts';

/** The folder of the code that runs. */
export const CODE_FOLDER = packageFile(runsSources ? 'src' : 'dist');

/** The path of a file of the package, from its root. */
export function packageFile(...names: readonly string[]): string {
  return join(root, ...names);
}

function rootOf(folder: string): string {
  return existsSync(join(folder, 'package.json')) ? folder : rootOf(dirname(folder));
}
