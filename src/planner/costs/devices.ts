/** Devices known by name, from their vendors' data sheets. */
import { closest } from 'fastest-levenshtein';
import { MerakError } from '../../errors.js';
import type { DataSheet, DeviceModel, Precision } from './device.js';
import { flat } from './rates.js';

/** One sheet for both sizes. */
const A100_SHEET =
  'https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf';
const TERA = 1e12;
const GIGA = 1e9;

export const DATA_SHEETS: readonly DataSheet[] = [
  {
    name: 'rtx3090',
    cardName: /RTX 3090/,
    vendorName: 'NVIDIA GeForce RTX 3090 24 GB',
    peakFlops: { float32: 35.6 * TERA, tf32: 35.6 * TERA, bfloat16: 71 * TERA },
    memoryBytesPerSecond: 936 * GIGA,
    memoryBytes: 24 * 2 ** 30,
    source: 'NVIDIA Ampere GA102 GPU Architecture whitepaper v2, appendix A (BF16 with FP32 accumulation, dense)',
    // What NVIDIA's driver reports of the card: 10496 cores, 936.1 GB/s, 24576 MB. By arithmetic at the 1.695 GHz of the whitepaper:
    // 10496 x 2 FLOPs = 35.6 TFLOP/s; 328 tensor cores x 64 multiply-adds with FP32 sums (half of those with FP16 sums) = 71.2.
    page: 'https://gist.github.com/FabricatiDiem/fe0667aff7dc529a9b439112194f34b6',
  },
  {
    name: 'a100-40',
    cardName: /A100.*40GB/,
    vendorName: 'NVIDIA A100 40 GB',
    peakFlops: { float32: 19.5 * TERA, tf32: 156 * TERA, bfloat16: 312 * TERA },
    memoryBytesPerSecond: 1555 * GIGA,
    memoryBytes: 40 * 2 ** 30,
    source: 'NVIDIA A100 Tensor Core GPU data sheet (40 GB, SXM and PCIe)',
    sheet: A100_SHEET,
    page: 'https://glennklockwood.com/garden/processors/A100',
  },
  {
    name: 'a100-80',
    cardName: /A100.*80GB/,
    vendorName: 'NVIDIA A100 80 GB SXM',
    peakFlops: { float32: 19.5 * TERA, tf32: 156 * TERA, bfloat16: 312 * TERA },
    memoryBytesPerSecond: 2039 * GIGA,
    memoryBytes: 80 * 2 ** 30,
    source: 'NVIDIA A100 80GB Tensor Core GPU data sheet (SXM)',
    sheet: A100_SHEET,
    page: 'https://glennklockwood.com/garden/processors/A100',
  },
  {
    name: 'h100',
    cardName: /H100/,
    vendorName: 'NVIDIA H100 80 GB SXM',
    peakFlops: { float32: 67 * TERA, tf32: 494.5 * TERA, bfloat16: 989.5 * TERA },
    memoryBytesPerSecond: 3350 * GIGA,
    memoryBytes: 80 * 2 ** 30,
    source: 'NVIDIA H100 Tensor Core GPU data sheet (SXM; half of the figures with sparsity)',
    sheet: 'https://resources.nvidia.com/en-us-tensor-core/nvidia-tensor-core-gpu-datasheet',
    page: 'https://glennklockwood.com/garden/processors/h100',
  },
  {
    name: 'h200',
    cardName: /H200/,
    vendorName: 'NVIDIA H200 141 GB SXM',
    peakFlops: { float32: 67 * TERA, tf32: 494.5 * TERA, bfloat16: 989.5 * TERA },
    memoryBytesPerSecond: 4800 * GIGA,
    memoryBytes: 141 * GIGA,
    source:
      "NVIDIA H200 Tensor Core GPU data sheet (SXM; half of the figures with sparsity; the processor is the H100's)",
    sheet:
      'https://resources.nvidia.com/en-us-data-center-overview-mc/en-us-data-center-overview/hpc-datasheet-sc23-h200',
    // NVIDIA's own description of the system for MLPerf: memory and links.
    page: 'https://raw.githubusercontent.com/mlcommons/inference_results_v4.1/main/closed/NVIDIA/systems/H200-SXM-141GBx8_TRT_MaxQ.json',
  },
  {
    name: 'b200',
    cardName: /B200/,
    vendorName: 'NVIDIA B200 180 GB (HGX)',
    peakFlops: { float32: 80 * TERA, tf32: 1100 * TERA, bfloat16: 2250 * TERA },
    memoryBytesPerSecond: 8000 * GIGA,
    memoryBytes: 180 * GIGA,
    // Drivers have since reported a bus of 7680 bits, 7.7 TB/s (pytorch/ao#4002); the sheet says 8.
    source: 'NVIDIA Blackwell Architecture Technical Brief and HGX B200 data sheet (per GPU, dense)',
    // Memory: NVIDIA's user guide of the DGX B200, 1,440 GB for eight (docs.nvidia.com/dgx/dgxb200-user-guide); arithmetic: the page.
    page: 'https://glennklockwood.com/garden/processors/B200',
  },
  {
    name: 'cpu',
    vendorName: 'one core of an AMD Zen 5 server (oneDNN)',
    peakFlops: { float32: 240 * GIGA, tf32: 240 * GIGA, bfloat16: 495 * GIGA },
    memoryBytesPerSecond: 26 * GIGA,
    memoryBytes: 4 * 2 ** 30,
    source: 'measured on the reference machine (docs: `merak profile` measures yours); already attainable, not peak',
  },
];

/**
 * What a kernel attains of a data sheet's peaks: one assumption for every device in the table, since no vendor publishes
 * it. Large cuBLAS products reach 65-85 % of the dense tensor peak, streaming kernels about 80 % of the memory's.
 * A measured profile replaces both.
 */
export const ATTAINABLE = { product: 0.7, memory: 0.8, vector: 0.5 } as const;
/** From the host's call to the kernel's start on a GPU, pipelined: an assumption (CUDA launches are issued at 2-5 us each). */
const GPU_LAUNCH_SECONDS = 4e-6;
/** Of an oneDNN or vector kernel in the engine, measured on the reference machine. */
const CPU_LAUNCH_SECONDS = 1e-6;

/** Tensor cores multiply both 16-bit floats at the same rate. */
export const ARITHMETIC = { f32: 'float32', tf32: 'tf32', bf16: 'bfloat16', f16: 'bfloat16' } as const;

export const DEVICE_NAMES: readonly string[] = DATA_SHEETS.map(({ name }) => name);

/** The data sheet of a card of this name, as its driver gives it; undefined where none is known. */
export function sheetOfCard(cardName: string): DataSheet | undefined {
  return DATA_SHEETS.find((sheet) => sheet.cardName?.test(cardName));
}

/** @throws MerakError 'config/invalid' for a device nobody listed. */
export function deviceByName(name: string, precision: Precision = 'float32'): DeviceModel {
  const sheet = DATA_SHEETS.find((one) => one.name === name);
  if (sheet === undefined) {
    throw new MerakError('config/invalid', `no device is called '${name}'`, {
      expected: DEVICE_NAMES.join(', '),
      received: name,
      hint: `did you mean '${closest(name, [...DEVICE_NAMES])}'? \`merak profile\` measures a device that is not listed`,
    });
  }
  const isCpu = sheet.name === 'cpu';
  const attains = isCpu ? { product: 1, memory: 1, vector: 0.25 } : ATTAINABLE;
  return {
    name: sheet.name,
    productFlops: flat(sheet.peakFlops[precision] * attains.product),
    vectorFlopsPerSecond: sheet.peakFlops.float32 * attains.vector,
    memoryBytesPerSecond: flat(sheet.memoryBytesPerSecond * attains.memory),
    launchSeconds: isCpu ? CPU_LAUNCH_SECONDS : GPU_LAUNCH_SECONDS,
    memoryBytes: sheet.memoryBytes,
  };
}
