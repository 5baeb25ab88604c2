/** Loads build/merak.node and types what it exports. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { MerakError } from '../../errors.js';
import type { Attrs, DType } from '../../graph/graph.js';
import { packageFile } from '../../packageFiles.js';
import type { Executable, Group, RankPlan, Workspace } from '../../plan/plan.js';
import type { ArenaHandle, HostArray, LossScaling, ParameterArray, StepResult } from '../device.js';

export interface TensorSpec {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** One kernel call as the addon takes it: a program node with its types spelled out. */
export interface NodeSpec {
  readonly kernel: string;
  readonly inputs: readonly TensorSpec[];
  readonly inputNames: readonly string[];
  readonly outputs: readonly TensorSpec[];
  readonly attrs: Attrs;
  /** For messages. */
  readonly scope?: string;
}

/** What keys random numbers in `runKernel`; `repeat` times it; `outputs` is what accumulating kernels add to. */
export interface RunKernelOptions {
  readonly seed?: number;
  readonly step?: number;
  readonly micro?: number;
  readonly numMicroBatches?: number;
  readonly dpIndex?: number;
  readonly outputs?: readonly HostArray[];
}

export interface NativeStepResult {
  readonly metrics: Readonly<Record<string, number>>;
  readonly outputs: Readonly<Record<string, HostArray>>;
  readonly gradientNorm: number;
  readonly seconds: number;
  readonly waitSeconds: number;
  readonly lossScaling?: NonNullable<StepResult['lossScaling']>;
  readonly spans?: Float64Array;
}

export interface NativeStepInput {
  readonly step: number;
  readonly seed: number;
  readonly learningRate: number;
  readonly timeoutSeconds: number;
  readonly inputs: Readonly<Record<string, HostArray>>;
  readonly record: boolean;
  /** Under which its batch was announced; 0: it was not. */
  readonly ticket: number;
}

/** What a kernel has taken since its executable was loaded. */
export interface KernelTime {
  readonly seconds: number;
  readonly numRuns: number;
}

/** When a collective beside computation was asked for, ran, and was waited for: seconds on the engine's own clock. */
export interface CollectiveTime {
  readonly started: number;
  readonly begun: number;
  readonly ended: number;
  readonly awaited: number;
  readonly released: number;
}

/** An arena handle without its rank, which the addon does not repeat. */
export type NativeHandle = Omit<ArenaHandle, 'rank'>;

/** The addon's class; native/addon/engine_object.h. `moment` -1 is the parameter itself. */
export interface NativeEngine {
  handles(): NativeHandle[];
  load(executable: Executable): Promise<NativeHandle[]>;
  connect(handles: readonly ArenaHandle[]): Promise<void>;
  write(index: number, moment: number, data: HostArray | ParameterArray): Promise<void>;
  read(index: number, moment: number): Promise<ParameterArray>;
  setUpdates(updates: number, lossScaling?: LossScaling): Promise<void>;
  run(executable: string, input: NativeStepInput): Promise<NativeStepResult>;
  /** Arrays must stay as they are until the run of this ticket has settled. Tickets grow, in the order of runs. */
  announce(executable: string, ticket: number, inputs: Record<string, HostArray>): void;
  abort(reason: string): void;
  measuredBytes(): Record<string, number>;
  kernelTimes(): Promise<Record<string, KernelTime>>;
  takeCollectiveTrace(): Promise<CollectiveTime[]>;
  close(): void;
}

/** The addon's class; native/addon/host_communicator.h. Arrays must not change until the promise settles. */
export interface NativeHostCommunicator {
  handles(): NativeHandle[];
  connect(handles: readonly ArenaHandle[]): Promise<void>;
  allReduce(group: number, data: Float32Array, op: 'sum' | 'max'): Promise<Float32Array>;
  allGather(group: number, data: Uint8Array): Promise<Uint8Array[]>;
  /** The bytes of the rank at `rootIndex` of the group. */
  broadcast(group: number, data: Uint8Array, rootIndex: number): Promise<Uint8Array>;
  /** Seconds per all-reduce of `count` floats in place, nothing copied: the fastest of `repeat` rounds of `times`. */
  timeAllReduce(group: number, count: number, times: number, repeat: number): Promise<number>;
  send(peer: number, tag: number, data: Uint8Array): Promise<void>;
  receive(peer: number, tag: number): Promise<Uint8Array>;
  setTimeout(seconds: number): void;
  abort(reason: string): void;
  takeWaitSeconds(): number;
  close(): void;
}

export interface HostCommunicatorOptions {
  readonly rank: number;
  readonly worldSize: number;
  readonly groups: readonly Group[];
  /** Bytes under way to one peer before a send waits (default 256 MiB, less from 64 ranks on). */
  readonly ringBytes?: number;
}

/** What became of looking for one of NVIDIA's libraries. */
export interface GpuLibrary {
  readonly name: 'driver' | 'NVRTC' | 'cuBLASLt' | 'NCCL' | 'cuDNN';
  /** Of the file in use; '' when none will do. */
  readonly path: string;
  readonly version: string;
  /** Files that were found and passed over. */
  readonly rejected: readonly { readonly path: string; readonly problem: string }[];
  /** Newer functions that it does not have, and that Merak does without. */
  readonly lacks: readonly string[];
  /** What Merak does not use this version for, and why; '' where it does all. */
  readonly caution: string;
}

/** Of a group's collectives, of the world's, of one channel of messages. */
export interface NcclCtas {
  readonly group: number;
  readonly world: number;
  readonly message: number;
}

export interface GpuDevice {
  readonly name: string;
  /** Compute capability: '9.0'. */
  readonly capability: string;
  readonly totalBytes: number;
}

/** One call of NCCL's on device buffers; sizes in elements, offsets in bytes. `peer` is also the root of a broadcast. */
export interface NcclOperation {
  readonly kind: 'allReduce' | 'reduceScatter' | 'allGather' | 'broadcast' | 'send' | 'recv';
  readonly from: number;
  readonly fromOffset: number;
  readonly to: number;
  readonly toOffset: number;
  readonly count: number;
  readonly dtype:
    | 'int8'
    | 'uint8'
    | 'int32'
    | 'uint32'
    | 'int64'
    | 'uint64'
    | 'float16'
    | 'float32'
    | 'float64'
    | 'bfloat16';
  readonly op: 'sum' | 'prod' | 'max' | 'min' | 'avg';
  readonly peer: number;
}

/** The addon's class; native/addon/nccl_object.h. Buffers are numbers. */
export interface NativeNcclComm {
  init(): Promise<void>;
  alloc(bytes: number): Promise<number>;
  free(buffer: number): Promise<void>;
  write(buffer: number, offset: number, data: Uint8Array): Promise<void>;
  read(buffer: number, offset: number, bytes: number): Promise<Uint8Array>;
  submit(operations: readonly NcclOperation[]): Promise<void>;
  synchronize(): Promise<void>;
  asyncError(): Promise<string>;
  abort(reason: string): void;
  close(): void;
}

export interface NcclCommOptions {
  readonly device: number;
  readonly numRanks: number;
  readonly rank: number;
  readonly id: Uint8Array;
  readonly timeoutSeconds: number;
}

export interface EngineOptions {
  readonly threads: number;
  /** The card it computes on; absent for the processor. */
  readonly cuda?: CudaPlace;
}

export interface CudaPlace {
  readonly ordinal: number;
}

export interface Addon {
  readonly NcclComm: new (options: NcclCommOptions) => NativeNcclComm;
  /** NCCL's ncclGetUniqueId: 128 bytes. */
  ncclUniqueId(): Uint8Array;
  readonly HostCommunicator: new (options: HostCommunicatorOptions) => NativeHostCommunicator;
  readonly Engine: new (plan: RankPlan, options: EngineOptions) => NativeEngine;
  /** Names of all kernels, sorted. */
  kernelNames(): string[];
  /** '' when the engine can compile the node, else why not. */
  supports(node: NodeSpec): string;
  /**
   * What the executable's kernels would take beside the arenas in an engine of so many threads, or on a card of a compute
   * capability (90), which need not be there.
   */
  workspace(
    executable: Executable,
    plan: Pick<RankPlan, 'persistentSpaces'>,
    threads: number,
    capability?: number,
  ): Workspace;
  /** Compiles and runs one node on the calling thread. */
  runKernel(node: NodeSpec, inputs: readonly HostArray[], options?: RunKernelOptions): HostArray[];
  /** As `runKernel`, `repeat` times (two or more); the last element is the seconds of the fastest run. */
  runKernel(
    node: NodeSpec,
    inputs: readonly HostArray[],
    options: RunKernelOptions & { readonly repeat: number },
  ): [...HostArray[], number];
  /** Kernels of the CUDA engine; others run on the processor there. Needs no GPU. */
  cudaKernelNames(): string[];
  /** '' when the CUDA engine runs the node on the card, else why the processor has to. Needs no GPU. */
  cudaSupports(node: NodeSpec): string;
  /** As `runKernel`, on the first CUDA device. engine/no-gpu where there is none; an index out of range is an error too. */
  runCudaKernel(node: NodeSpec, inputs: readonly HostArray[], options?: RunKernelOptions): HostArray[];
  runCudaKernel(
    node: NodeSpec,
    inputs: readonly HostArray[],
    options: RunKernelOptions & { readonly repeat: number },
  ): [...HostArray[], number];
  /** The CUDA source generated for an element-wise node. Needs no GPU. */
  cudaChainSource(node: NodeSpec): string;
  /** Seconds of oneDNN's own product of two matrices, f32 result: the fastest of `repeat`. engine/unsupported where it has none. */
  matmulSeconds(options: {
    readonly rows: number;
    readonly inner: number;
    readonly columns: number;
    readonly dtype: 'f32' | 'bf16';
    readonly repeat: number;
  }): number;
  /** Seconds of copying `bytes` from one buffer to another with all threads: the fastest of `repeat`. */
  copySeconds(bytes: number, repeat: number): number;
  /** Looks for NVIDIA's libraries, once per process. */
  gpuLibraries(): GpuLibrary[];
  /** The CUDA devices. engine/no-gpu says where was looked. */
  gpuDevices(): GpuDevice[];
  /** Of a device's memory, whoever has taken the rest. engine/no-gpu where there is none. */
  gpuFreeBytes(ordinal: number): number;
  /** How many of NCCL's channels the engine's communicators may use at the most. Needs no GPU. */
  ncclCtas(): NcclCtas;
  info(): { dnnlVersion: string; isa: 'generic' | 'avx2' | 'avx512'; maxThreads: number };
  /** Threads of `runKernel`, `matmulSeconds` and `copySeconds`; an engine's own number is set when it is made. */
  setThreads(threads: number): void;
}

const require = createRequire(import.meta.url);
const BUILD_COMMAND = 'node scripts/build-native.mjs';
let loaded: Addon | null = null;

/**
 * OpenMP's threads wait for the next parallel region by spinning, by default for milliseconds: time that other workers on the
 * same cores lose. With a second team in the process (of the thread that drew the weights, or measured products) libgomp counts more
 * threads than cores and, unless the policy is active, spins so briefly that every region of a step wakes its threads by the
 * kernel: a step of small operations then takes a third longer. libgomp reads both when it is loaded, with the addon.
 */
function spinBriefly(): void {
  const { GOMP_SPINCOUNT: spins, OMP_WAIT_POLICY: policy } = process.env;
  if (spins !== undefined || policy !== undefined) return;
  process.env.GOMP_SPINCOUNT = '1000';
  process.env.OMP_WAIT_POLICY = 'active';
}

/** Where the addon is: MERAK_ADDON, else build/merak.node of the package. */
export function addonPath(): string {
  const override = process.env.MERAK_ADDON;
  if (override !== undefined && override !== '') return override;
  return packageFile('build/merak.node');
}

/** The addon, loaded once. Raises engine/unsupported with the loader's message when it is missing or cannot be loaded. */
export function loadAddon(): Addon {
  if (loaded !== null) return loaded;
  const path = addonPath();
  if (!existsSync(path)) {
    throw new MerakError('engine/unsupported', 'the native engine has not been built', {
      path,
      hint: `build it with \`${BUILD_COMMAND}\` (needs cmake, g++ and libdnnl-dev), or train with --device tfjs`,
    });
  }
  spinBriefly();
  try {
    loaded = require(path) as Addon;
  } catch (cause) {
    throw new MerakError('engine/unsupported', 'the native engine cannot be loaded', {
      path,
      received: cause instanceof Error ? cause.message : String(cause),
      hint: `build it again with \`${BUILD_COMMAND} --clean\`, or train with --device tfjs`,
      cause,
    });
  }
  return loaded;
}
