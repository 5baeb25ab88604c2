// dist/*.js: what src/ is, and what it imports, in a few files. Node takes longer to find and read hundreds of modules than to
// run them, and every worker's start would wait for that. (The compiler has put the types there.)
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import protobuf from 'protobufjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');

/** tfjs must be the one that the user's script imports; the others load files of their own, and only when wanted. */
const EXTERNAL = ['@tensorflow/*', 'tsx', 'vega', 'vega-lite', '@huggingface/tokenizers'];

/** tfjs as the CommonJS that it is: imported, Node would first look through five megabytes of it for the names it exports. */
const requiredTfjs = {
  name: 'required tfjs',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^@tensorflow\/tfjs$/ }, ({ namespace }) =>
      namespace === 'required' ? { external: true } : { path: '@tensorflow/tfjs', namespace: 'required' },
    );
    onLoad({ filter: /.*/, namespace: 'required' }, ({ path }) => {
      const names = Object.keys(createRequire(import.meta.url)(path));
      return { contents: `export const { ${names.join(', ')} } = require('${path}');` };
    });
  },
};

// Chunks bear hashes: those of an earlier build would stay.
for (const name of readdirSync(dist, { recursive: true })) {
  if (/\.js(\.map)?$/.test(name)) rmSync(join(dist, name));
}
// Parsing the messages takes every process longer than reading what the parser makes of them (src/schema.ts).
mkdirSync(join(dist, 'proto'), { recursive: true });
for (const name of ['merak', 'coordinator']) {
  const schema = protobuf.loadSync(join(root, `proto/${name}.proto`));
  writeFileSync(join(dist, `proto/${name}.json`), JSON.stringify(schema));
}
await build({
  absWorkingDir: root,
  entryPoints: {
    index: 'src/index.ts',
    'nccl/index': 'src/nccl/index.ts',
    'launcher/main': 'src/launcher/main.ts',
    'worker/main': 'src/worker/main.ts',
    'worker/watchdog': 'bin/watchdog.mjs',
  },
  outdir: dist,
  bundle: true,
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: EXTERNAL,
  plugins: [requiredTfjs],
  sourcemap: true,
  // For packages that are CommonJS within.
  banner: {
    js: "import { createRequire as requireFrom } from 'node:module';\nconst require = requireFrom(import.meta.url);",
  },
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'linked',
  logLevel: 'warning',
});
