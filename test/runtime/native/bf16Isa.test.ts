/** bf16 on processors that lack what this one may have: without tiles, without bfloat16 products, without AVX-512. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { loadAddon } from '../../../src/runtime/native/addon.js';

const script = fileURLToPath(new URL('../fixtures/bf16Losses.ts', import.meta.url));
const SETTINGS = ['MERAK_ISA', 'ONEDNN_MAX_CPU_ISA', 'DNNL_MAX_CPU_ISA'];

interface Outcome {
  readonly isa: string;
  readonly losses: readonly number[];
}

async function train(settings: NodeJS.ProcessEnv): Promise<Outcome> {
  const env = { ...process.env, ...settings };
  for (const name of SETTINGS) if (!(name in settings)) delete env[name];
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', script], { env, timeout: 60_000 });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Outcome;
}

it('trains alike with every instruction set', async () => {
  const whole = await train({});
  expect(whole.losses.at(-1)!).toBeLessThan(0.9 * whole.losses[0]!);
  const best = loadAddon().info().isa;
  const lesser: readonly [string, NodeJS.ProcessEnv][] = [
    [best, { MERAK_ISA: 'avx512' }],
    [best, { MERAK_ISA: 'avx512', ONEDNN_MAX_CPU_ISA: 'AVX512_CORE', DNNL_MAX_CPU_ISA: 'AVX512_CORE' }],
    [
      best === 'generic' ? 'generic' : 'avx2',
      { MERAK_ISA: 'avx2', ONEDNN_MAX_CPU_ISA: 'AVX2', DNNL_MAX_CPU_ISA: 'AVX2' },
    ],
    ['generic', { MERAK_ISA: 'generic', ONEDNN_MAX_CPU_ISA: 'SSE41', DNNL_MAX_CPU_ISA: 'SSE41' }],
  ];
  for (const [isa, settings] of lesser) {
    const { losses, isa: used } = await train(settings);
    expect(used).toBe(isa);
    losses.forEach((loss, step) => {
      expect(Math.abs(loss / whole.losses[step]! - 1), JSON.stringify({ settings, step })).toBeLessThan(5e-3);
    });
  }
}, 120_000);
