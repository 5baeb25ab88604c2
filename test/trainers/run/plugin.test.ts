/** The user's own recipe: the example is listed, described and run; what is no recipe is refused. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { setLaunchContext } from '../../../src/config/launch.js';
import { loadPlugin } from '../../../src/launcher/plugin.js';
import { listTrainers, train } from '../../../src/launcher/train.js';

const EXAMPLE = fileURLToPath(new URL('../../../examples/trainers/autoencoder.ts', import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-plugin-'));
});
afterAll(async () => {
  setLaunchContext(undefined);
  await rm(folder, { recursive: true });
});

it('is listed and described', async () => {
  const written: string[] = [];
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  await listTrainers(undefined, EXAMPLE);
  await listTrainers('autoencoder', EXAMPLE);
  spy.mockRestore();
  expect(written[0]).toMatch(/^autoencoder .*\nlanguage-model /);
  expect(written[1]).toMatch(/\nlearningRate +0\.003 +of Adam\n/);
});

it('runs in parallel; a wider bottleneck keeps more', async () => {
  const out = join(folder, 'out');
  const settings = { plugin: EXAMPLE, out, quiet: true, set: ['widths=[2, 16]', 'epochs=1'] };
  const { figures, tables } = await train('autoencoder', settings, { dp: 2, logDir: join(folder, 'logs') });
  expect(figures['error-16']).toBeLessThan(0.75 * figures['error-2']!);
  expect(tables.errors!.rows.map(([width]) => width)).toEqual([2, 16]);
  expect(await readdir(out)).toEqual(expect.arrayContaining(['errors.md', 'errors.svg', 'results.json']));
});

it('is refused when it is none', async () => {
  await expect(loadPlugin(join(folder, 'absent.js'))).rejects.toMatchObject({ code: 'trainer/plugin' });
  const file = join(folder, 'half.mjs');
  await writeFile(file, "export default { name: 'half', description: '', prepare() {} };\n");
  await expect(loadPlugin(file)).rejects.toMatchObject({
    code: 'trainer/plugin',
    received: 'without config (a zod object), run, evaluate',
  });
  await expect(train('autoencodr', { plugin: EXAMPLE, quiet: true }, {})).rejects.toMatchObject({
    code: 'trainer/unknown',
    hint: expect.stringContaining("'autoencoder'"),
  });
});
