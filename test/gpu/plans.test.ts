/** Plans for cards are made, and their kernels asked what they need, where there is no card. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

/** cuBLASLt may take so much in a product (native/ops/cuda/lt_product.cpp), in MB. */
const MOST_WORKSPACE = (32 << 20) / 1e6;

async function workspacesOf(device: 'native' | 'cuda'): Promise<number[]> {
  const cli = ['--import', 'tsx', 'test/launcher/cli.ts'];
  const args = ['plan', 'examples/gpt/train.ts', '--device', device, '--dp', '2', '--micro-batches', '1'];
  const env = { ...process.env, MERAK_CUDA_LIBRARIES: '/nowhere' };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [...cli, ...args], { env });
  // "0     0  0  0   173 MB      84.8 MB  33.6 MB    291 MB": rank, coordinates, persistent, train, workspace, total.
  const rows = [...`${stdout}${stderr}`.matchAll(/^\d+ +\d+ +\d+ +\d+ +[\d.]+ MB +[\d.]+ MB +([\d.]+) MB/gm)];
  return rows.map(([, workspace]) => Number(workspace));
}

it('counts what kernels take on a card beside the arenas', async () => {
  const [card, host] = [await workspacesOf('cuda'), await workspacesOf('native')];
  expect(card).toHaveLength(2);
  expect(host).toHaveLength(2);
  for (const [rank, megabytes] of card.entries()) {
    expect(megabytes).toBeGreaterThanOrEqual(Math.floor(MOST_WORKSPACE));
    expect(megabytes).not.toBe(host[rank]);
  }
});
