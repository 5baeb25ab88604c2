/** A stopwatch for kernels as steps run them on a card: many in a CUDA graph, on random operands from the card's memory. */
import { nodeBytes, nodeFlops } from '../../graph/cost.js';
import type { KernelCall } from '../../graph/kernelCall.js';
import type { ProgramNode, ProgramValue } from '../../plan/plan.js';
import { loadAddon } from './addon.js';
import { NativeDevice } from './device.js';
import { executableOf, meetingPlan, NO_SLOTS, type Repetition, specOf, timedProgram } from './timedProgram.js';

export interface TimeCardOptions {
  readonly ordinal: number;
  /** Operands go round in so many bytes: several times the second-level cache. */
  readonly rotatedBytes: number;
  /** Runs of a call in the shorter of two graphs, at most. */
  readonly mostRuns: number;
}

/** Of the shorter graph, about, by what a card might do: FLOP/s, bytes/s, and of a launch. */
const [GRAPH_SECONDS, GUESSED_FLOPS, GUESSED_BYTES, GUESSED_LAUNCH] = [0.004, 1e14, 2e12, 3e-6];
const LEAST_RUNS = 2;
/** The longer graph has so many times the runs of the shorter. */
const TIMES = 3;
/** Steps before a graph is there (native/cuda/backend.cpp), with one to touch what it needs. */
const WARM_UPS = 4;
const TIMED_STEPS = 5;

/**
 * Seconds of each call, null for what the card leaves to the processor. A call's time is the difference between two graphs that do
 * everything else alike, so that filling, launching the graph and waiting for it do not count. Raises engine/no-gpu.
 */
export async function timeCardCalls(
  calls: readonly KernelCall[],
  { ordinal, rotatedBytes, mostRuns }: TimeCardOptions,
): Promise<(number | null)[]> {
  const addon = loadAddon();
  const device = new NativeDevice({ cuda: { ordinal } });
  const seconds: (number | null)[] = [];
  try {
    await device.open(meetingPlan(0, 1));
    for (const call of calls) {
      seconds.push(
        addon.cudaSupports(specOf(call)) === '' ? await timed(device, call, { rotatedBytes, mostRuns }) : null,
      );
    }
  } finally {
    device.close();
  }
  return seconds;
}

async function timed(
  device: NativeDevice,
  call: KernelCall,
  { rotatedBytes, mostRuns }: Omit<TimeCardOptions, 'ordinal'>,
): Promise<number> {
  const { graph, node } = call;
  const guessed = nodeFlops(graph, node) / GUESSED_FLOPS + nodeBytes(graph, node) / GUESSED_BYTES + GUESSED_LAUNCH;
  const mostSets = Math.min(mostRuns, Math.max(LEAST_RUNS, Math.round(GRAPH_SECONDS / guessed)));
  const lengths = [mostSets, TIMES * mostSets] as const;
  for (const numRuns of lengths) {
    const program = timedProgram(call, { numRuns, mostSets, rotatedBytes, fill });
    const schedule = [{ kind: 'forward', micro: 0, chunk: 0, slots: NO_SLOTS }] as const;
    await device.load(executableOf(String(numRuns), [program], schedule));
  }
  const fastest = lengths.map(() => Number.POSITIVE_INFINITY);
  for (let step = 0; step < WARM_UPS + TIMED_STEPS; step++) {
    for (const [index, numRuns] of lengths.entries()) {
      const input = { step, seed: 0, learningRate: 0, inputs: new Map(), timeoutSeconds: 600 };
      const { seconds } = await device.run(String(numRuns), input);
      if (step >= WARM_UPS) fastest[index] = Math.min(fastest[index] ?? seconds, seconds);
    }
  }
  const [short = 0, long = 0] = fastest;
  return Math.max(0, long - short) / ((TIMES - 1) * mostSets);
}

/** Floats are random, of 16 bits too, since zeros multiply faster than numbers do; ids and labels are zero. */
const fill: Repetition['fill'] = ({ shape, dtype }: ProgramValue, id, spare) => {
  const node = (kernel: string, input: readonly number[], output: number, attrs: ProgramNode['attrs']): ProgramNode => {
    return { kernel, inputs: input, inputNames: input.map(() => 'x'), outputs: [output], attrs, scope: '' };
  };
  if (dtype !== 'float32' && dtype !== 'bfloat16' && dtype !== 'float16') {
    return [node('Fill', [], id, { shape: [...shape], dtype, value: 0 })];
  }
  const place = { shape: [...shape], globalShape: [...shape], offsets: shape.map(() => 0), batchDim: -1 };
  const drawn = dtype === 'float32' ? id : spare({ shape, dtype: 'float32' });
  const random = node('MerakRandom', [], drawn, { kind: 'uniform', a: -1, b: 1, node: id, ...place });
  // Of the kernels that round to 16 bits, the one that takes any shape.
  return drawn === id ? [random] : [random, node('MerakGelu', [drawn], id, { approximate: 'tanh' })];
};
