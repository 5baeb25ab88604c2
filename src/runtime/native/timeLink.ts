/** A stopwatch for messages and all-reduces between two ranks of this machine, on its processor or its cards. */
import type { Executable, Instruction, RankPlan, SpacePlan } from '../../plan/plan.js';
import { NativeDevice } from './device.js';

/** Two ranks that can be given plans and run steps. */
export interface RankPair {
  /** Opens both with their executables and joins them; again and again. */
  open(plans: readonly [RankPlan, RankPlan]): Promise<void>;
  /** Seconds of the first rank's step. */
  run(executable: string): Promise<number>;
  close(): Promise<void> | void;
}

export interface LinkTimes {
  /** Seconds from send to the end of the receiver's copy, by bytes. */
  readonly messages: readonly { readonly bytes: number; readonly seconds: number }[];
  readonly allReduces: readonly { readonly bytes: number; readonly seconds: number }[];
}

const ROUNDS = 40;
/** All-reduces go round in so many bytes of each rank: more than caches hold, as a model's gradients and activations are. */
const ROTATED_BYTES = 1 << 26;
const SIZES = [1 << 12, 1 << 16, 1 << 20, 1 << 23] as const;

/** A few hundred milliseconds. `pair`: default two engines in this process, which need the addon (engine/unsupported). */
export async function timeLink(pair: RankPair = enginesHere(), sizes: readonly number[] = SIZES): Promise<LinkTimes> {
  const messages: { bytes: number; seconds: number }[] = [];
  const allReduces: { bytes: number; seconds: number }[] = [];
  try {
    for (const bytes of sizes) {
      await pair.open([rankPlan(0, bytes), rankPlan(1, bytes)]);
      const fastest = async (name: string) =>
        Math.min(await pair.run(name), await pair.run(name), await pair.run(name));
      messages.push({ bytes, seconds: (await fastest('messages')) / (2 * ROUNDS) });
      allReduces.push({ bytes, seconds: (await fastest('reduce')) / (numReductions(bytes) * numBuffers(bytes)) });
    }
  } finally {
    await pair.close();
  }
  return { messages, allReduces };
}

/** What `timeLink` has a step be told. */
export const LINK_STEP = { step: 0, seed: 0, learningRate: 0, inputs: new Map(), timeoutSeconds: 30 } as const;

function enginesHere(): RankPair {
  const devices = [new NativeDevice(), new NativeDevice()];
  return {
    async open(plans) {
      const handles = [];
      for (const [rank, device] of devices.entries()) {
        const plan = plans[rank]!;
        handles.push(...(await device.open(plan)));
        for (const executable of plan.executables) handles.push(...(await device.load(executable)));
      }
      for (const device of devices) await device.connect(handles);
    },
    async run(name) {
      const [first] = await Promise.all(devices.map((device) => device.run(name, LINK_STEP)));
      return first?.seconds ?? Number.NaN;
    },
    close() {
      for (const device of devices) device.close();
    },
  };
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
    executables: [pingPong(rank, bytes), reduceOften(bytes)],
  };
}

function space(name: SpacePlan['space'], base: number, bytes: number): SpacePlan {
  return { space: name, base, slotBytes: [bytes] };
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
