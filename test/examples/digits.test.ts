/** The example as a user runs it: an unmodified tf.layers classifier on two workers; it fails by itself below 95 %. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('reaches 95 % on held-out digits', () => {
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  const args = ['bin/merak.mjs', 'launch', 'examples/layers/train.ts', '--dp', '2', '--log-dir', 'runs/test'];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd, encoding: 'utf8', timeout: 110_000 });
  expect(stdout, stderr).toMatch(/test accuracy 9[5-9]\.\d+ %/);
  expect(status).toBe(0);
});
