/** `merak simulate` gives the step times of merak.md 3.5 and writes its figures. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { merakCommand } from '../../src/launcher/main.js';

async function simulated(...flags: string[]): Promise<{ stepSeconds: number; bubble: number }> {
  const folder = await mkdtemp(join(tmpdir(), 'merak-simulate-'));
  const report = join(folder, 'report.json');
  const trace = join(folder, 'trace.json');
  await merakCommand().parseAsync(['node', 'merak', 'simulate', ...flags, '--report', report, '--trace', trace]);
  const figures = JSON.parse(await readFile(report, 'utf8'));
  expect(JSON.parse(await readFile(trace, 'utf8')).traceEvents.length).toBeGreaterThan(0);
  await rm(folder, { recursive: true });
  return figures;
}

it.each([
  ['1f1b', '4', '8', 44],
  ['scp', '4', '8', 38],
  ['1f1b', '8', '16', 92],
  ['scp', '8', '16', 82],
])('%s on %s stages with %s micro-batches takes %i units', async (schedule, stages, microBatches, expected) => {
  const costs = ['--forward', '1', '--backward', '2', '--recompute', '1'];
  const { stepSeconds } = await simulated(
    '--schedule',
    schedule,
    '--stages',
    stages,
    '--micro-batches',
    microBatches,
    ...costs,
  );
  expect(stepSeconds).toBe(expected);
});

it('refuses zero micro-batches and unknown schedules', async () => {
  await expect(simulated('--micro-batches', '0')).rejects.toMatchObject({ code: 'config/invalid' });
  await expect(simulated('--schedule', 'scq')).rejects.toMatchObject({ code: 'config/invalid' });
});
