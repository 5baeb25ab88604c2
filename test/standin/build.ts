/** Builds the stand-in libraries, once per content, below build/standin; tests point MERAK_CUDA_LIBRARIES at the folder. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const output = join(here, '..', '..', 'build', 'standin');

/**
 * How much of a library: 'all' of it, 'version' alone, or NCCL 'without newer' functions. What versions they say they have is up to the
 * variables MERAK_STANDIN_{CUDA,NVRTC,CUBLASLT,NCCL,CUDNN}_VERSION, counted as each library counts.
 */
export type StandIn = 'all' | 'version' | 'without newer';

export interface StandIns {
  readonly cuda?: StandIn;
  readonly nvrtc?: StandIn;
  readonly cublasLt?: StandIn;
  readonly nccl?: StandIn;
  readonly cudnn?: StandIn;
}

/** All that work together. */
export const ALL: StandIns = { cuda: 'all', nvrtc: 'all', cublasLt: 'all', nccl: 'all', cudnn: 'all' };

const FILES: Readonly<Record<keyof StandIns, string>> = {
  cuda: 'libcuda.so.1',
  nvrtc: 'libnvrtc.so.13',
  cublasLt: 'libcublasLt.so.13',
  nccl: 'libnccl.so.2',
  cudnn: 'libcudnn.so.9',
};

/** The folder with these stand-ins, built if it is not there yet. */
export function standInFolder(libraries: StandIns = ALL): string {
  const emulation = digest(['cuda_emulation.h', ...listed('emulation')]);
  const sources = digest(readdirSync(here).filter((name) => /\.(cpp|h)$/.test(name)));
  const folder = join(output, digestOf(JSON.stringify(libraries) + emulation + sources));
  if (existsSync(folder)) return folder;
  const work = `${folder}-${process.pid}-${Date.now()}`;
  mkdirSync(work, { recursive: true });
  for (const [name, wanted] of Object.entries(libraries) as [keyof StandIns, StandIn][]) {
    copyFileSync(built(name, wanted, emulation), join(work, FILES[name]));
  }
  publish(work, folder);
  return folder;
}

/**
 * The environment of a process that is to find these stand-ins and nothing else. With MERAK_TEST_GPU=1, which `npm run gpu` sets, the
 * libraries and the card of the machine take their place: the same tests then run on the real thing.
 */
export function standInEnvironment(libraries: StandIns = ALL): NodeJS.ProcessEnv {
  if (process.env.MERAK_TEST_GPU === '1') return process.env;
  const kernels = join(output, 'kernels');
  mkdirSync(kernels, { recursive: true });
  return { ...process.env, MERAK_CUDA_LIBRARIES: standInFolder(libraries), MERAK_STANDIN_CACHE: kernels };
}

function built(name: keyof StandIns, wanted: StandIn, emulation: string): string {
  const source = wanted === 'version' ? 'libversion.cpp' : `lib${name}.cpp`;
  const macros = {
    ...(wanted === 'without newer' && { STANDIN_WITHOUT_NEWER: 1 }),
    ...(name === 'nvrtc' && {
      STANDIN_EMULATION: `"${compiledEmulation(emulation)}"`,
      STANDIN_OPTIONS: `"${KERNEL_OPTIONS.join(' ')}"`,
      STANDIN_EMULATION_HASH: `"${emulation}"`,
      STANDIN_CACHE: `"${join(output, 'kernels')}"`,
    }),
  };
  const flags = Object.entries(macros).map(([key, value]) => `-D${key}=${value}`);
  const id = digestOf(digest([source, ...readdirSync(here).filter((file) => file.endsWith('.h'))]) + flags.join());
  const file = join(output, `${name}-${id}.so`);
  if (existsSync(file)) return file;
  mkdirSync(output, { recursive: true });
  const work = `${file}-${process.pid}-${Date.now()}`;
  const options = ['-std=c++20', '-O2', '-fPIC', '-shared', '-fvisibility=hidden', '-Wall', '-Wextra', ...flags];
  execFileSync('g++', [...options, join(here, source), '-o', work, '-lrt', '-ldl'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  publish(work, file);
  return file;
}

/** Of every kernel that the stand-in for NVRTC compiles. */
const KERNEL_OPTIONS = ['-std=c++20', '-O1', '-fPIC', '-w', '-D__CUDACC_RTC__'];

/**
 * The folder of the emulation's header, compiled beforehand: reading it anew is two thirds of a kernel's compilation. For another compute
 * capability than 9.0, or macros that touch it, g++ reads it all the same.
 */
function compiledEmulation(emulation: string): string {
  const folder = join(output, `emulation-${digestOf(emulation + KERNEL_OPTIONS.join())}`);
  if (existsSync(folder)) return folder;
  const work = `${folder}-${process.pid}-${Date.now()}`;
  mkdirSync(work, { recursive: true });
  const header = join(work, 'cuda_emulation.h');
  writeFileSync(header, `#include "${join(here, 'cuda_emulation.h')}"\n`);
  execFileSync('g++', [...KERNEL_OPTIONS, '-D__CUDA_ARCH__=900', '-x', 'c++-header', header, '-o', `${header}.gch`], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  publish(work, folder);
  return folder;
}

/** A program of these sources (absolute paths), made once per content of `content`'s files; compiled with the native folder to include from. */
export function builtProgram(name: string, sources: readonly string[], content: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of [...content].sort()) hash.update(file).update(readFileSync(file));
  const file = join(output, `${name}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(file)) return file;
  mkdirSync(output, { recursive: true });
  const work = `${file}-${process.pid}`;
  const options = ['-std=c++20', '-O1', '-Wall', '-Wextra', `-I${join(here, '..', '..', 'native')}`];
  execFileSync('g++', [...options, ...sources, '-o', work, '-ldl', '-lrt', '-pthread'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  publish(work, file);
  return file;
}

/** Another process may have been first; both made the same. */
function publish(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!existsSync(to)) throw error;
    rmSync(from, { recursive: true, force: true });
  }
}

function listed(folder: string): string[] {
  const path = join(here, folder);
  return existsSync(path) ? readdirSync(path).map((name) => join(folder, name)) : [];
}

function digest(files: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of [...files].sort()) {
    const path = join(here, file);
    if (existsSync(path) && statSync(path).isFile()) hash.update(file).update(readFileSync(path));
  }
  return hash.digest('hex');
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
