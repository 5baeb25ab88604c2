/** Keeps other cores at work while something is measured: cores that all compute share memory, caches and heat. */
import type { Executable, ProgramValue, RankPlan } from '../../plan/plan.js';
import { NativeDevice } from './device.js';

/** A layer's product in a small transformer: 512 x 512 x 512. */
const SIDE = 512;
const FLOATS = SIDE * SIDE;
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
 * What `measure` returns, run while `count` cores multiply matrices for about as long as `secondsAtLeast`: at the rate that a
 * trial run shows. The cores are free again when this resolves.
 */
export async function whileBusy<T>(count: number, secondsAtLeast: number, measure: () => T): Promise<T> {
  const devices = Array.from({ length: count }, () => new NativeDevice({ threads: 1 }));
  try {
    for (const device of devices) {
      await device.open(RANK);
      await device.load(multiplying('trial', 20));
    }
    const input = { step: 0, seed: 0, learningRate: 0, inputs: new Map(), timeoutSeconds: 600 };
    const trials = await Promise.all(devices.map((device) => device.run('trial', input)));
    for (const [index, device] of devices.entries()) {
      const seconds = Math.max(trials[index]?.seconds ?? 0, 1e-6);
      await device.load(multiplying('load', Math.ceil((20 * secondsAtLeast) / seconds)));
    }
    const running = devices.map((device) => device.run('load', input));
    const result = measure();
    await Promise.all(running);
    return result;
  } finally {
    for (const device of devices) device.close();
  }
}

const RANK: RankPlan = {
  rank: 0,
  coordinates: { pp: 0, dp: 0, tp: 0 },
  mesh: { pp: 1, dp: 1, tp: 1 },
  groups: [],
  parameters: [],
  persistentSpaces: [],
  persistentBytes: 64,
  gradientBuckets: [],
  stateBuckets: [],
  optimizer: { kind: 'sgd' },
  clipNorm: 0,
  executables: [],
};

function multiplying(name: string, times: number): Executable {
  const value = (index: number): ProgramValue => ({
    shape: [SIDE, SIDE],
    dtype: 'float32',
    space: 'scratch',
    offset: 4 * FLOATS * index,
  });
  const node = {
    kernel: 'BatchMatMul',
    inputs: [0, 1],
    inputNames: ['a', 'b'],
    outputs: [2],
    attrs: { transposeA: false, transposeB: false },
    scope: '',
  };
  return {
    name,
    numMicroBatches: 1,
    microBatchSize: 1,
    spaces: [{ space: 'scratch', base: 0, bytesPerSlot: 12 * FLOATS, numSlots: 1 }],
    arenaBytes: 12 * FLOATS,
    programs: [{ kind: 'forward', values: [0, 1, 2].map(value), nodes: [node] }],
    inputs: [],
    metrics: [],
    outputs: [],
    constants: [],
    schedule: Array.from({ length: times }, () => ({ kind: 'forward', micro: 0, slots: NO_SLOTS }) as const),
  };
}
