/** One workload trained by PyTorch: bench/torch/train.py in a process of its own. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
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
 * MERAK_TORCH_PYTHON names the interpreter to ask first, MERAK_TORCH_LIBRARIES a folder with a libblas.so.3 for it. An OpenBLAS that is
 * installed but not chosen by the system is taken for it: Debian's torch otherwise multiplies f32 matrices with the reference BLAS.
 */
export function findTorch(): Torch | undefined {
  for (const python of [process.env.MERAK_TORCH_PYTHON ?? '', 'python3', '/usr/bin/python3']) {
    if (python === '') continue;
    const env = environment();
    const { status, stdout } = spawnSync(python, ['-c', PROBE], { encoding: 'utf8', timeout: 60_000, env });
    if (status !== 0) continue;
    return { python, env, ...(JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as Omit<Torch, 'python' | 'env'>) };
  }
  return undefined;
}

function environment(): NodeJS.ProcessEnv {
  const folder = process.env.MERAK_TORCH_LIBRARIES ?? installedOpenBlas();
  // OpenBLAS 0.3.21 takes newer Intel processors for older ones; its AVX-512 kernels are of this name.
  const { OPENBLAS_CORETYPE = 'SKYLAKEX', LD_LIBRARY_PATH = '' } = process.env;
  if (folder === undefined) return process.env;
  return { ...process.env, OPENBLAS_CORETYPE, LD_LIBRARY_PATH: `${folder}:${LD_LIBRARY_PATH}` };
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

export function trainWithTorch(
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
  return answerOf(torch.python, [SCRIPT, JSON.stringify(job)], { timeoutSeconds, env });
}
