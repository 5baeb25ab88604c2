/** Plans for cards are made, and their kernels asked what they need, where there is no card. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

/** cuBLASLt may take so much in a product (native/ops/cuda/lt_product.cpp), in MB. */
const MOST_WORKSPACE = (32 << 20) / 1e6;

/** The table of ranks by column, in MB, and the columns' names. */
async function tableOf(device: 'native' | 'cuda'): Promise<{ names: string[]; column: (name: string) => number[] }> {
  const cli = ['--import', 'tsx', 'test/launcher/cli.ts'];
  const args = ['plan', 'examples/gpt/train.ts', '--device', device, '--dp', '2', '--micro-batches', '1'];
  const env = { ...process.env, MERAK_CUDA_LIBRARIES: '/nowhere' };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [...cli, ...args], { env });
  // "rank  pp dp tp  persistent  train    workspace  total", then "0     0  0  0   173 MB      84.8 MB  33.6 MB    291 MB".
  const lines = `${stdout}${stderr}`.split('\n');
  const heading = lines.findIndex((line) => /^rank +pp dp tp/.test(line));
  const names = lines[heading]!.trim().split(/ {2,}/).slice(2);
  const rows = lines.slice(heading + 1, heading + 3).map((line) => [...line.matchAll(/([\d.]+) MB/g)]);
  return { names, column: (name) => rows.map((row) => Number(row[names.indexOf(name)]![1])) };
}

it('counts what kernels take on a card beside the arenas, and NCCL where ranks have a card each', async () => {
  const [card, host] = [await tableOf('cuda'), await tableOf('native')];
  expect(card.column('workspace')).toHaveLength(2);
  for (const [rank, megabytes] of card.column('workspace').entries()) {
    expect(megabytes).toBeGreaterThanOrEqual(Math.floor(MOST_WORKSPACE));
    expect(megabytes).not.toBe(host.column('workspace')[rank]);
  }
  // Of a group of two and of the world.
  expect(card.column('NCCL')).toEqual([545, 545]);
  expect(host.names).not.toContain('NCCL');
});
