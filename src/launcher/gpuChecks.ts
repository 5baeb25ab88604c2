/** What `merak doctor` says of NVIDIA's devices and libraries. */
import type { GpuDevice, GpuLibrary } from '../runtime/native/addon.js';
import type { Finding } from './checks.js';

/** What each library is for, and the command that gets it: pip's packages, which need no root and no toolkit. */
const LIBRARIES: Readonly<Record<GpuLibrary['name'], { readonly use: string; readonly hint: string }>> = {
  driver: { use: 'everything on a GPU', hint: "install NVIDIA's driver: https://www.nvidia.com/drivers" },
  NVRTC: { use: 'compiling kernels', hint: 'pip install nvidia-cuda-nvrtc' },
  cuBLASLt: { use: 'matrix products', hint: 'pip install nvidia-cublas' },
  NCCL: { use: 'several GPUs; without it ranks exchange through host memory', hint: 'pip install nvidia-nccl-cu13' },
  cuDNN: {
    use: "convolutions on tensor cores; without it Merak's own kernels run them",
    hint: 'pip install nvidia-cudnn-cu13',
  },
};

/** One line for each device, or why there is none. */
export function gpuDevices(list: () => readonly GpuDevice[]): Finding[] {
  try {
    return list().map(({ name, capability, totalBytes }, ordinal) => ({
      name: `cuda:${ordinal}`,
      status: 'ok',
      found: `${name}, compute capability ${capability}, ${(totalBytes / 2 ** 30).toFixed(1)} GiB`,
    }));
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    return [{ name: 'GPU', status: 'absent', found: `${found} (training uses the processor)` }];
  }
}

/** One line for each library: which file, or what is wrong with those found. `hasDevice`: with a GPU, say how to get what is missing. */
export function gpuLibraries(libraries: readonly GpuLibrary[], hasDevice: boolean): Finding[] {
  return libraries.map((library) => {
    const { name, path, version, rejected, lacks, caution } = library;
    const { use, hint } = LIBRARIES[name];
    const passedOver = rejected.map(({ path: file, problem }) => `passed over ${file}: ${problem}`);
    if (path === '') {
      const found = rejected.length > 0 ? passedOver.join('; ') : 'not found';
      const finding: Finding = { name, status: 'absent', found: `${found} (needed for ${use})` };
      return hasDevice || rejected.length > 0 ? { ...finding, hint: `${hint}${chosenFolder()}` } : finding;
    }
    const without = lacks.length > 0 ? [`does without ${lacks.join(', ')}`] : [];
    const cautions = caution === '' ? [] : [caution];
    return { name, status: 'ok', found: [`${version} (${path})`, ...without, ...cautions, ...passedOver].join('; ') };
  });
}

function chosenFolder(): string {
  const folder = process.env.MERAK_CUDA_LIBRARIES;
  return folder ? `, or unset MERAK_CUDA_LIBRARIES (${folder}), outside which nothing is looked for` : '';
}
