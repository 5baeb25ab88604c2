/** A stopwatch for kernels as a rank sees them: on all ranks of the machine at once, on operands no longer in the first caches. */
import { elementBytes, nodeBytes, nodeFlops, numElements } from '../../graph/cost.js';
import type { KernelCall } from '../../graph/kernelCall.js';
import { align } from '../../plan/memory.js';
import type { Executable, Instruction, Program, ProgramNode, ProgramValue, RankPlan } from '../../plan/plan.js';
import type { ArenaHandle } from '../device.js';
import { watchOthers } from '../othersLoad.js';
import { decodeSpans } from '../spans.js';
import { loadAddon } from './addon.js';
import { NativeDevice } from './device.js';

export interface TimeCallsOptions {
  /** That measure at the same time, each on cores of its own. */
  readonly ranks: number;
  /** Of each rank. */
  readonly threads: number;
}

/** A call's operands go round in so many bytes: more than second-level caches hold, less than third-level ones. */
const ROTATED_BYTES = 1 << 23;
/** Of one round of one call, about; and never fewer runs or more. */
const [ROUND_SECONDS, LEAST_RUNS, MOST_RUNS] = [0.02, 5, 400];
/** What decides how often a call runs, not what is measured: FLOP/s and bytes/s of a slow core. */
const [GUESSED_FLOPS, GUESSED_BYTES] = [3e10, 1e10];
/** Rounds of all calls, one after the other, until so many were undisturbed; or until all have taken too long. */
const [QUIET_ROUNDS, PATIENCE_SECONDS] = [4, 15];
/** Cores that other processes may have in an undisturbed round. */
const QUIET = 0.05;
const FILLER = 0.5;
const NO_SLOTS = {
  batch: 0,
  received: -1,
  sent: -1,
  saved: -1,
  recomputed: -1,
  pending: -1,
  sentGradients: -1,
  receivedGradients: -1,
} as const;

/**
 * Seconds of each call, null for what the engine cannot run; in the fastest round, the median of its runs on the slowest rank,
 * for which the others wait wherever they meet. The ranks meet before each call. Raises engine/unsupported without the addon.
 */
export async function timeCalls(
  calls: readonly KernelCall[],
  { ranks, threads }: TimeCallsOptions,
): Promise<(number | null)[]> {
  const addon = loadAddon();
  const runnable = calls.filter(({ graph, node }) => {
    const type = (id: number) => ({
      shape: graph.values[id]?.shape ?? [],
      dtype: graph.values[id]?.dtype ?? 'float32',
    });
    return addon.supports({ ...node, inputs: node.inputs.map(type), outputs: node.outputs.map(type) }) === '';
  });
  const programs = runnable.map(programOf);
  const executable = executableOf(programs, ranks > 1);
  const devices = Array.from({ length: ranks }, () => new NativeDevice({ threads }));
  const handles: ArenaHandle[] = [];
  const fastest = new Map<KernelCall, number>();
  try {
    for (const [rank, device] of devices.entries()) {
      handles.push(...(await device.open(rankPlan(rank, ranks))), ...(await device.load(executable)));
    }
    for (const device of devices) await device.connect(handles);
    const start = performance.now();
    const isLate = () => performance.now() - start > PATIENCE_SECONDS * 1e3;
    for (let [round, quiet] = [0, 0]; round < 2 || (quiet < QUIET_ROUNDS && !isLate()); round++) {
      const othersSince = watchOthers();
      const input = { step: 0, seed: 0, learningRate: 0, inputs: new Map(), timeoutSeconds: 600, record: true };
      const results = await Promise.all(devices.map((device) => device.run(executable.name, input)));
      const byRank = results.map(({ spans = new Float64Array(0) }) => {
        const seconds = runnable.map((): number[] => []);
        for (const span of decodeSpans(spans)) {
          if (span.kind !== 'node' || span.index < (programs[span.chunk]?.numFills ?? 0)) continue;
          seconds[span.chunk]?.push(span.end - span.begin);
        }
        return seconds.map(median);
      });
      // The first round touches memory for the first time.
      if (round === 0) continue;
      if (othersSince() <= QUIET) quiet++;
      for (const [index, call] of runnable.entries()) {
        const slowest = Math.max(...byRank.map((medians) => medians[index] ?? Number.NaN));
        fastest.set(call, Math.min(fastest.get(call) ?? Number.POSITIVE_INFINITY, slowest));
      }
    }
  } finally {
    for (const device of devices) device.close();
  }
  return calls.map((call) => fastest.get(call) ?? null);
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.POSITIVE_INFINITY;
}

interface TimedProgram {
  readonly program: Omit<Program, 'chunk'>;
  /** Nodes before the first that counts. */
  readonly numFills: number;
  readonly bytes: number;
}

/** The call again and again, each time on other operands, which are filled beforehand. */
function programOf({ graph, node }: KernelCall): TimedProgram {
  const ids = [...node.inputs, ...node.outputs];
  const types = ids.map((id) => {
    const { shape = [], dtype = 'float32' } = graph.values[id] ?? {};
    return { shape, dtype, bytes: align(numElements(shape) * elementBytes(dtype)) };
  });
  const setBytes = types.reduce((sum, { bytes }) => sum + bytes, 0);
  const guessed = nodeFlops(graph, node) / GUESSED_FLOPS + nodeBytes(graph, node) / GUESSED_BYTES;
  const runs = Math.min(MOST_RUNS, Math.max(LEAST_RUNS, Math.round(ROUND_SECONDS / guessed)));
  const sets = Math.max(1, Math.min(runs, Math.floor(ROTATED_BYTES / setBytes)));
  const values: ProgramValue[] = [];
  const add = (value: ProgramValue) => values.push(value) - 1;
  const valueAt = (set: number, index: number): ProgramValue => {
    const { shape = [], dtype = 'float32' } = types[index] ?? {};
    const before = types.slice(0, index).reduce((sum, { bytes }) => sum + bytes, 0);
    return { shape, dtype, space: 'scratch', offset: set * setBytes + before };
  };
  const inputs = Array.from({ length: sets }, (_, set) => node.inputs.map((_id, index) => add(valueAt(set, index))));
  const fills = inputs.flat().map((id): ProgramNode => {
    const { shape = [], dtype } = values[id] ?? {};
    const attrs = { shape: [...shape], dtype: dtype ?? 'float32', value: dtype === 'float32' ? FILLER : 0 };
    return { kernel: 'Fill', inputs: [], inputNames: [], outputs: [id], attrs, scope: '' };
  });
  const { kernel, inputNames, attrs } = node;
  const timed = Array.from({ length: runs }, (_, run): ProgramNode => {
    const set = run % sets;
    const outputs = node.outputs.map((_id, index) => add(valueAt(set, node.inputs.length + index)));
    return { kernel, inputs: inputs[set] ?? [], inputNames, outputs, attrs, scope: '' };
  });
  return {
    program: { kind: 'forward', values, nodes: [...fills, ...timed] },
    numFills: fills.length,
    bytes: sets * setBytes,
  };
}

function executableOf(programs: readonly TimedProgram[], meets: boolean): Executable {
  const bytes = Math.max(0, ...programs.map((one) => one.bytes));
  const schedule = programs.flatMap((_, chunk): Instruction[] => [
    ...(meets ? [{ kind: 'reduceState' } as const] : []),
    { kind: 'forward', micro: 0, chunk, slots: NO_SLOTS },
  ]);
  return {
    name: 'calls',
    numMicroBatches: 1,
    microBatchSize: 1,
    spaces: [{ space: 'scratch', base: 0, bytesPerSlot: bytes, numSlots: 1 }],
    arenaBytes: bytes,
    programs: programs.map(({ program }, chunk) => ({ ...program, chunk })),
    inputs: [],
    metrics: [],
    outputs: [],
    constants: [],
    schedule,
  };
}

/** With one cache line that ranks reduce to meet. */
function rankPlan(rank: number, ranks: number): RankPlan {
  return {
    rank,
    coordinates: { pp: rank, dp: 0, tp: 0 },
    mesh: { pp: ranks, dp: 1, tp: 1 },
    groups: [{ id: 0, axis: 'world', ranks: Array.from({ length: ranks }, (_, index) => index) }],
    parameters: [],
    persistentSpaces: [{ space: 'parameters', base: 0, bytesPerSlot: 64, numSlots: 1 }],
    persistentBytes: 64,
    gradientBuckets: [],
    stateBuckets: [{ group: 0, offset: 0, length: 16, scale: 1 / ranks }],
    optimizer: { kind: 'sgd' },
    clipNorm: 0,
    executables: [],
  };
}
