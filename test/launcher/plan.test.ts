/** `merak plan --model`: what it prints, draws and writes, and what it says when nothing fits. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { XMLParser } from 'fast-xml-parser';
import { afterEach, expect, it, vi } from 'vitest';
import { MerakError } from '../../src/errors.js';
import { merakCommand } from '../../src/launcher/main.js';

afterEach(() => {
  vi.restoreAllMocks();
});

async function plan(...flags: string[]): Promise<string> {
  const printed: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
  const model = ['--model', 'gpt:1.5b', '--sequence', '128', '--global-batch', '16', '--micro-batches', '8'];
  await merakCommand()
    .exitOverride()
    .parseAsync(['node', 'merak', 'plan', ...model, ...flags]);
  return printed.join('');
}

it('plans a named model for a cluster, and writes trace, chart and report of the same step', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'merak-plan-'));
  const at = (name: string) => join(folder, 'deep', name);
  const files = ['--trace', at('trace.json'), '--svg', at('chart.svg'), '--report', at('report.json')];
  const text = await plan('--cluster', '2x4:rtx3090:ib100', '--pp', '4', '--schedule', '1f1b', ...files);
  expect(text).toContain('tokens/s');
  expect(text).toMatch(/chosen \(pp 4/);
  const report = JSON.parse(readFileSync(at('report.json'), 'utf8'));
  expect(report.choice.mesh.pp * report.choice.mesh.dp * report.choice.mesh.tp).toBe(8);
  expect(report.stages).toHaveLength(4);
  expect(report.peakBytes).toBeLessThanOrEqual(24 * 2 ** 30);
  expect(report.stageOfShard).toEqual([...report.stageOfShard].sort((a: number, b: number) => a - b));

  const { traceEvents } = JSON.parse(readFileSync(at('trace.json'), 'utf8'));
  const spans = traceEvents.filter(({ ph, pid }: { ph: string; pid: number }) => ph === 'X' && pid === 0);
  expect(spans).toHaveLength(4 * 2 * 8);
  const ends = traceEvents.map(({ ts = 0, dur = 0 }: { ts?: number; dur?: number }) => ts + dur);
  expect(Math.max(...ends) / 1e6).toBeLessThanOrEqual(1.001 * report.stepSeconds);

  const svg = readFileSync(at('chart.svg'), 'utf8');
  expect(new XMLParser().parse(svg)).toHaveProperty('svg');
  for (const word of ['stage 3', 'forward', 'backward', 'bubble']) expect(svg).toContain(word);
});

it('says how many workers would do when memory is impossible', async () => {
  const failure = plan('--cluster', '4:a100-40', '--memory-limit', '4e9', '--micro-batches', '16');
  const error = await failure.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(MerakError);
  expect(error).toMatchObject({ code: 'plan/out-of-memory', path: expect.stringContaining('4 a100-40') });
  const workers = Number(/(\d+) such workers would do/.exec((error as MerakError).hint ?? '')?.[1]);
  // 1.5 B parameters in 16 bytes each need 6.2 workers of 4 GB for their state alone.
  expect(workers).toBeGreaterThanOrEqual(8);
  await expect(
    plan('--cluster', `${workers}:a100-40`, '--memory-limit', '4e9', '--micro-batches', '16', '--recompute', 'auto'),
  ).resolves.toContain('chosen');
});
