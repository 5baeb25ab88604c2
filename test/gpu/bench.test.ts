/** What `npm run gpu` measures with, tried small: each kernel alone on the stand-in card, and PyTorch's side on the processor. */
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { useStandIns } from './card.js';

useStandIns();
vi.setConfig({ testTimeout: 120_000 });

const run = promisify(execFile);
const SIZE = { batchSize: 2, vocabularySize: 300, contextLength: 32, numLayers: 1, numHeads: 2, hiddenSize: 32 };

it('every kernel of a step runs alone, beside what its bytes and operations take', async () => {
  const job = { ...SIZE, device: 'cuda', precision: 'bf16', bytesPerSecond: 1e12, flopsPerSecond: 1e15, seconds: 100 };
  const args = ['--import', 'tsx', 'bench/gpu/kernels.ts', JSON.stringify(job)];
  const { stdout } = await run(process.execPath, args);
  const { rows, failures, numLeft } = JSON.parse(stdout.trim().split('\n').at(-1)!);
  expect(failures).toEqual([]);
  expect(numLeft).toBe(0);
  const kernels = new Set<string>(rows.map(({ kernel }: { kernel: string }) => kernel));
  expect(kernels).toContain('MerakPackedAttention');
  expect(kernels).not.toContain('Reshape');
  // 64 rows of 32 floats, read and written, and their ids; not the table of 300.
  const embedding = rows.find(
    ({ kernel, shapes }: { kernel: string; shapes: string }) =>
      kernel === 'MerakEmbedding' && shapes.includes('[300,32]'),
  );
  expect(embedding.bytes).toBe(2 * 64 * 32 * 4 + 64 * 4);
});

const python = process.env.MERAK_TORCH_PYTHON ?? '/usr/bin/python3';
const probe = spawnSync(python, ['-c', 'import torch; print(hasattr(torch, "compile"))'], { encoding: 'utf8' });
if (probe.status !== 0) console.warn(`SKIPPED: ${python} has no PyTorch, the peer of npm run gpu was not tried`);

describe.skipIf(probe.status !== 0)('PyTorch', () => {
  const jobs = [
    { precision: 'f32', compile: false },
    { precision: 'bf16', compile: false },
  ];
  it.each(jobs)('%j', async (one) => {
    const job = { ...SIZE, ...one, what: 'train', device: 'cpu', seconds: 0.1 };
    const { stdout } = await run(python, ['bench/torch/gpu.py', JSON.stringify(job)]);
    const { loss, numParameters, tokensPerSecond } = JSON.parse(stdout.trim().split('\n').at(-1)!);
    expect(loss).toBeGreaterThan(4);
    expect(loss).toBeLessThan(Math.log(300) + 1);
    expect(tokensPerSecond).toBeGreaterThan(0);
    // The same model as Merak's: tables, a block, the last norm.
    expect(numParameters).toBe(300 * 32 + 32 * 32 + (12 * 32 * 32 + 13 * 32) + 2 * 32);
  });
});
