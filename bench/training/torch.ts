/** One workload trained by PyTorch: bench/torch/train.py in a process of its own. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Workload } from '../models/workload.js';
import type { Precision, Timed } from './result.js';
import { answerOf } from './tfjs.js';

/** A Python that imports torch, and the environment that makes it fastest. */
export interface Torch {
  readonly python: string;
  readonly version: string;
  /** What torch says its own kernels are built for. */
  readonly capability: string;
  /** Where its f32 products come from. */
  readonly blas: string;
  readonly env: NodeJS.ProcessEnv;
}

/** As the user set it, before the addon said how OpenMP's threads wait. */
const STARTED_WITH: NodeJS.ProcessEnv = { ...process.env };
const SCRIPT = fileURLToPath(new URL('../torch/train.py', import.meta.url));
const PROBE = `
import json, os, re, torch
torch.ones(64, 64) @ torch.ones(64, 64)
show = torch.__config__.show()
with open('/proc/self/maps') as maps:
    files = {line.split()[-1] for line in maps if 'blas' in line and '.so' in line}
found = re.search(r'CPU capability usage: (\\S+)', show)
print(json.dumps({
    'version': torch.__version__,
    'capability': found.group(1) if found else 'unknown',
    'blas': 'MKL' if 'MKL_VERSION' in show or torch.backends.mkl.is_available() else ', '.join(sorted(os.path.realpath(file) for file in files)) or 'built in',
}))
`;

/**
 * Every version of torch found, each once. MERAK_TORCH_PYTHON names interpreters to ask first, separated by colons (scripts/torch2.sh makes
 * one), MERAK_TORCH_LIBRARIES a folder with a libblas.so.3 for them. An OpenBLAS that is installed but not chosen by the system is taken:
 * Debian's torch otherwise multiplies f32 matrices with the reference BLAS.
 */
export function findTorches(): Torch[] {
  const named = process.env.MERAK_TORCH_PYTHON?.split(':') ?? [];
  const found = new Map<string, Torch>();
  for (const python of [...named, 'python3', '/usr/bin/python3']) {
    const env = environment();
    const { status, stdout } = spawnSync(python, ['-c', PROBE], { encoding: 'utf8', timeout: 60_000, env });
    if (status !== 0) continue;
    const about = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as Omit<Torch, 'python' | 'env'>;
    if (!found.has(about.version)) found.set(about.version, { python, env, ...about });
  }
  return [...found.values()];
}

function environment(): NodeJS.ProcessEnv {
  const folder = process.env.MERAK_TORCH_LIBRARIES ?? installedOpenBlas();
  const { OPENBLAS_CORETYPE, LD_LIBRARY_PATH = '' } = process.env;
  const kernels = OPENBLAS_CORETYPE ?? kernelsOfNewerIntel();
  return {
    ...STARTED_WITH,
    ...(folder === undefined ? {} : { LD_LIBRARY_PATH: `${folder}:${LD_LIBRARY_PATH}` }),
    ...(kernels === undefined ? {} : { OPENBLAS_CORETYPE: kernels }),
  };
}

/** OpenBLAS 0.3.21 takes newer Intel processors for older ones; the name of its AVX-512 kernels, which others cannot run. */
function kernelsOfNewerIntel(): string | undefined {
  const about = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '';
  return about.includes('GenuineIntel') && about.includes('avx512f') ? 'SKYLAKEX' : undefined;
}

function installedOpenBlas(): string | undefined {
  for (const arch of ['x86_64-linux-gnu', 'aarch64-linux-gnu']) {
    const base = `/usr/lib/${arch}`;
    if (!existsSync(base)) continue;
    const folder = readdirSync(base).find(
      (name) => name.startsWith('openblas-') && existsSync(join(base, name, 'libblas.so.3')),
    );
    if (folder !== undefined) return join(base, folder);
  }
  return undefined;
}

export type TorchAnswer = (Timed & { readonly fusedAttention: boolean }) | { readonly skipped: string };

/**
 * How OpenMP's threads wait between parallel regions: as the user has it, and briefly, as ours do. Either is up to twice as fast as the
 * other, by model and version, where PyTorch has two pools of threads (its own and OpenBLAS's): the faster one counts.
 */
const WAITS: readonly NodeJS.ProcessEnv[] = [{}, { GOMP_SPINCOUNT: '1000' }];

export async function trainWithTorch(
  torch: Torch,
  workload: Workload,
  options: {
    readonly numThreads: number;
    readonly precision: Precision;
    readonly seconds: number;
    readonly maxStepSeconds: number;
    readonly flopsPerSample: number;
    readonly timeoutSeconds: number;
  },
): Promise<TorchAnswer> {
  const { numThreads: threads, timeoutSeconds, ...rest } = options;
  const job = { ...workload.torch, batchSize: workload.batchSize, threads, ...rest };
  const env = { ...torch.env, OMP_NUM_THREADS: String(threads), OPENBLAS_NUM_THREADS: String(threads) };
  let best: TorchAnswer | undefined;
  for (const wait of threads > 1 && options.precision === 'f32' ? WAITS : WAITS.slice(0, 1)) {
    const asked = { timeoutSeconds, env: { ...env, ...wait } };
    const answer: TorchAnswer = await answerOf(torch.python, [SCRIPT, JSON.stringify(job)], asked);
    if (best === undefined || 'skipped' in best || (!('skipped' in answer) && answer.stepSeconds < best.stepSeconds))
      best = answer;
  }
  return best!;
}
