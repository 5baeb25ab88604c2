/** A run killed in the middle and resumed, in another layout, makes the same losses as one that was not. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it } from 'vitest';
import { setLaunchContext } from '../../../src/config/launch.js';
import { train } from '../../../src/launcher/train.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const SETTINGS = ['numLayers=2', 'numHeads=2', 'hiddenSize=32', 'contextLength=16', 'dropout=0.1', 'steps=60'];
const TIMEOUT_MS = 60_000;

afterEach(() => setLaunchContext(undefined));

function start(out: string, ...flags: string[]) {
  const args = ['--import', 'tsx', 'test/launcher/cli.ts', 'train', 'language-model', '--sample', '--out', out];
  const command = [...args, '--log-dir', join(out, 'logs'), ...flags, '--set', ...SETTINGS];
  return spawn(process.execPath, command, { cwd: ROOT, stdio: 'ignore', timeout: TIMEOUT_MS });
}

function ended(child: ReturnType<typeof start>): Promise<{ code: number | null; signal: string | null }> {
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve({ code, signal }));
  });
}

async function losses(out: string): Promise<number[]> {
  const steps = readdirSync(join(out, 'state/train'));
  return JSON.parse(await readFile(join(out, 'state/train', steps.at(-1)!, 'losses.json'), 'utf8'));
}

/** Kills the run when it has saved something; true when that was before its end. */
async function killAfterFirstSave(out: string): Promise<boolean> {
  const child = start(out);
  const end = ended(child);
  const watch = setInterval(() => {
    const saved = existsSync(join(out, 'state/train')) ? readdirSync(join(out, 'state/train')) : [];
    if (saved.some((name) => /^\d+$/.test(name))) child.kill('SIGKILL');
  }, 5);
  const { signal } = await end;
  clearInterval(watch);
  return signal === 'SIGKILL' && !existsSync(join(out, 'results.json'));
}

it('resumes after SIGKILL', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'merak-killed-'));
  try {
    const [whole, killed] = [join(folder, 'whole'), join(folder, 'killed')];
    expect(await killAfterFirstSave(killed)).toBe(true);
    await train('language-model', { set: SETTINGS, sample: true, out: whole, quiet: true }, { logDir: folder });
    const before = Math.max(...readdirSync(join(killed, 'state/train')).map(Number).filter(Number.isFinite));
    expect(before).toBeLessThan(60);
    expect(await ended(start(killed, '--resume', '--pp', '2'))).toEqual({ code: 0, signal: null });
    const [expected, received] = [await losses(whole), await losses(killed)];
    expect(received).toHaveLength(60);
    for (const [step, loss] of expected.entries())
      expect(Math.abs(received[step]! - loss), `step ${step}`).toBeLessThan(1e-4);
  } finally {
    await rm(folder, { recursive: true });
  }
});
