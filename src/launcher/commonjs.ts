/**
 * Lets a script's `import` of tfjs take the names that tfjs, a CommonJS package, has when it is loaded. Node would find them by
 * looking through the source, five megabytes in JavaScript: a third of the time until the script begins.
 */
import module, { createRequire } from 'node:module';
import { sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageFile, runsSources } from '../packageFiles.js';
import { withCodeCache } from './codeCache.js';

const TFJS = '@tensorflow/tfjs';

/**
 * Loads the tfjs that the script at `path` would, and Merak. Where tfjs is none, or one that brings ES modules, Node has it its
 * own way.
 */
export async function loadTfjs(path: string): Promise<void> {
  const require = createRequire(path);
  const files = commonJsFiles(require);
  if (files.length === 0 || module.register === undefined) return;
  // Now, because every file that is imported later asks the hooks, which live in a thread of their own.
  if (isThisMerak(require)) await import('../index.js');
  const facades = new Map(files.map((file) => [pathToFileURL(file).href, facadeOf(file, require(file))]));
  module.register(pathToFileURL(packageFile('bin/facades.mjs')), { data: facades });
}

/** Or has the script one of its own? */
function isThisMerak(require: NodeJS.Require): boolean {
  try {
    return !runsSources && require.resolve('merak') === packageFile('dist/index.js');
  } catch {
    return false;
  }
}

/** tfjs's own, loaded; those of the packages it consists of too. */
function commonJsFiles(require: NodeJS.Require): string[] {
  try {
    if (require(`${TFJS}/package.json`).exports !== undefined) return [];
    withCodeCache(() => require(TFJS));
  } catch {
    return []; // The script's import says what is wrong, should it want tfjs at all.
  }
  return Object.keys(require.cache).filter((file) => file.includes(`${sep}@tensorflow${sep}`) && file.endsWith('.js'));
}

/** What Node makes of a CommonJS module: its properties by name, and all of them by default. */
function facadeOf(file: string, exported: object): string {
  const names = Object.keys(exported).filter((name) => name !== 'default');
  const locals = names.map((_, i) => `$${i}`);
  return `import { createRequire } from 'node:module';
const exported = createRequire(import.meta.url)(${JSON.stringify(file)});
export default exported;
const { ${names.map((name, i) => `${JSON.stringify(name)}: ${locals[i]}`).join(', ')} } = exported;
export { ${names.map((name, i) => `${locals[i]} as ${JSON.stringify(name)}`).join(', ')} };
`;
}
