/** A stopwatch for messages and all-reduces between two ranks of this machine. */
import type { Executable, Instruction, RankPlan, SpacePlan } from '../../plan/plan.js';
import { NativeDevice } from './device.js';

export interface LinkTimes {
  /** Seconds from send to the end of the receiver's copy, by bytes. */
  readonly messages: readonly { readonly bytes: number; readonly seconds: number }[];
  readonly allReduces: readonly { readonly bytes: number; readonly seconds: number }[];
}

const ROUNDS = 40;
/** All-reduces go round in so many bytes of each rank: more than caches hold, as a model's gradients and activations are. */
const ROTATED_BYTES = 1 << 26;
const SIZES = [1 << 12, 1 << 16, 1 << 20, 1 << 23] as const;

/** Runs two engines in this process; a few hundred milliseconds. Raises engine/unsupported without the addon. */
export async function timeLink(): Promise<LinkTimes> {
  const messages: { bytes: number; seconds: number }[] = [];
  const allReduces: { bytes: number; seconds: number }[] = [];
  for (const bytes of SIZES) {
    const result = await measure(bytes);
    messages.push({ bytes, seconds: result.message });
    allReduces.push({ bytes, seconds: result.allReduce });
  }
  return { messages, allReduces };
}

async function measure(bytes: number): Promise<{ message: number; allReduce: number }> {
  const devices = [new NativeDevice(), new NativeDevice()];
  try {
    const handles = (
      await Promise.all(
        devices.map(async (device, rank) => {
          const opened = await device.open(rankPlan(rank, bytes));
          return [...opened, ...(await device.load(pingPong(rank, bytes))), ...(await device.load(reduceOften(bytes)))];
        }),
      )
    ).flat();
    for (const device of devices) await device.connect(handles);
    const run = async (name: string) => {
      const input = { step: 0, seed: 0, learningRate: 0, inputs: new Map(), timeoutSeconds: 30 };
      const [first] = await Promise.all(devices.map((device) => device.run(name, input)));
      return first?.seconds ?? Number.NaN;
    };
    const fastest = async (name: string) => Math.min(await run(name), await run(name), await run(name));
    return {
      message: (await fastest('messages')) / (2 * ROUNDS),
      allReduce: (await fastest('reduce')) / (numReductions(bytes) * numBuffers(bytes)),
    };
  } finally {
    for (const device of devices) device.close();
  }
}

function numBuffers(bytes: number): number {
  return Math.max(1, Math.min(ROUNDS, ROTATED_BYTES / bytes));
}

/** Of all buffers. */
function numReductions(bytes: number): number {
  return Math.ceil(ROUNDS / numBuffers(bytes));
}

function rankPlan(rank: number, bytes: number): RankPlan {
  const persistentBytes = bytes * numBuffers(bytes);
  return {
    rank,
    coordinates: { pp: rank, dp: 0, tp: 0 },
    mesh: { pp: 2, dp: 1, tp: 1 },
    groups: [{ id: 0, axis: 'world', ranks: [0, 1] }],
    parameters: [],
    persistentSpaces: [space('parameters', 0, persistentBytes)],
    persistentBytes,
    gradientBuckets: [],
    stateBuckets: Array.from({ length: numBuffers(bytes) }, (_, index) => {
      return { group: 0, offset: index * bytes, length: bytes / 4, scale: 0.5 };
    }),
    optimizer: { kind: 'sgd' },
    clipNorm: 0,
    executables: [],
  };
}

function space(name: SpacePlan['space'], base: number, bytesPerSlot: number): SpacePlan {
  return { space: name, base, bytesPerSlot, numSlots: 1 };
}

function executable(
  name: string,
  spaces: readonly SpacePlan[],
  arenaBytes: number,
  schedule: readonly Instruction[],
): Executable {
  const none = { programs: [], inputs: [], metrics: [], outputs: [], constants: [] };
  return { name, numMicroBatches: 1, microBatchSize: 1, spaces, arenaBytes, schedule, ...none };
}

function pingPong(rank: number, bytes: number): Executable {
  const peer = 1 - rank;
  const [out, back] = [
    { kind: rank === 0 ? 'send' : 'receive', what: 'activation', micro: 0, slot: 0, bytes, peer },
    { kind: rank === 0 ? 'receive' : 'send', what: 'gradient', micro: 0, slot: 0, bytes, peer },
  ] as const;
  const names = ['sent', 'received', 'sentGradients', 'receivedGradients'] as const;
  const spaces = names.map((name, index) => space(name, index * bytes, bytes));
  const schedule = Array.from({ length: ROUNDS }, () => [out, back]).flat();
  return executable('messages', spaces, names.length * bytes, schedule);
}

function reduceOften(bytes: number): Executable {
  const schedule = Array.from({ length: numReductions(bytes) }, () => ({ kind: 'reduceState' }) as const);
  return executable('reduce', [], 64, schedule);
}
