/** `merak profile` on cards: kernels in each precision, and what joins ranks, for the cost model. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCluster } from '../coordinator/cluster.js';
import { calibrateDevice } from '../planner/costs/calibrate.js';
import { CARD_SIZES, type CalibrationSizes, calibrationCalls } from '../planner/costs/calibrationCalls.js';
import type { DeviceModel } from '../planner/costs/device.js';
import { fitLink } from '../planner/costs/fitLink.js';
import { callsInPrecision } from '../planner/costs/inPrecision.js';
import type { CardProfile, RankLinks } from '../planner/costs/profile.js';
import type { Precision } from '../planner/fuse.js';
import type { GpuDevice } from '../runtime/native/addon.js';
import { findLibrary } from '../runtime/native/gpus.js';
import { timeCardCalls } from '../runtime/native/timeCardCalls.js';
import { LINK_STEP, type RankPair, timeLink } from '../runtime/native/timeLink.js';

export interface CardMeasurement {
  readonly sizes: CalibrationSizes;
  readonly rotatedBytes: number;
  readonly mostRuns: number;
  /** Of messages and all-reduces. */
  readonly linkBytes: readonly number[];
}

/** Operands in four times the 60 MB of a second-level cache (H100: 50 MB). */
const THOROUGH: CardMeasurement = {
  sizes: CARD_SIZES,
  rotatedBytes: 1 << 28,
  mostRuns: 200,
  linkBytes: [1 << 12, 1 << 16, 1 << 20, 1 << 24, 1 << 26],
};

/** One of each name is measured, alone; what joins ranks, on the first cards. Raises engine/no-gpu. */
export async function measureCards(
  cards: readonly GpuDevice[],
  how: CardMeasurement = THOROUGH,
): Promise<Record<string, CardProfile>> {
  const measured: Record<string, CardProfile> = {};
  for (const [ordinal, card] of cards.entries()) {
    if (measured[card.name] !== undefined) continue;
    const alone = await measureCard(card, ordinal, how);
    measured[card.name] = ordinal > 0 ? alone : { ...alone, ...(await measureLinks(cards, how)) };
  }
  return measured;
}

async function measureCard(
  { name, totalBytes }: GpuDevice,
  ordinal: number,
  { sizes, rotatedBytes, mostRuns }: CardMeasurement,
): Promise<CardProfile> {
  const calls = calibrationCalls(sizes);
  const device = (precision: Precision): Promise<DeviceModel> =>
    calibrateDevice(
      (list) => timeCardCalls(list, { ordinal, rotatedBytes, mostRuns }),
      callsInPrecision(calls, precision),
      {
        name,
        memoryBytes: totalBytes,
      },
    );
  return {
    measuredAt: new Date().toISOString(),
    driver: findLibrary('driver')?.version ?? '',
    f32: await device('f32'),
    tf32: await device('tf32'),
    bf16: await device('bf16'),
  };
}

/** Of ranks that share the first card; of ranks with a card each, where the first two are alike and NCCL is there. */
async function measureLinks(
  [first, second]: readonly GpuDevice[],
  { linkBytes }: CardMeasurement,
): Promise<Pick<CardProfile, 'sharedLinks' | 'ownLinks'>> {
  const sharedLinks = await linksOf('one card, through the host', 1, linkBytes);
  const meet = second !== undefined && second.name === first?.name && findLibrary('NCCL') !== undefined;
  return { sharedLinks, ...(meet ? { ownLinks: await linksOf('NCCL', 2, linkBytes) } : {}) };
}

/** Two workers that take turns on so many cards, as in training. */
async function linksOf(name: string, numGpus: number, sizes: readonly number[]): Promise<RankLinks> {
  const logDirectory = await mkdtemp(join(tmpdir(), 'merak-profile-'));
  const workers = await startCluster({
    numWorkers: 2,
    device: 'cuda',
    numGpus,
    threadsPerWorker: 1,
    logDirectory,
    log: () => {},
  });
  const pair: RankPair = {
    open: (ranks) => workers.open({ ranks }),
    run: async (executable) => (await workers.run(executable, () => LINK_STEP))[0]?.seconds ?? Number.NaN,
    close: () => workers.close(),
  };
  const { messages, allReduces } = await timeLink(pair, sizes);
  // Where something failed, its error names them.
  await rm(logDirectory, { recursive: true, force: true });
  // Two ranks: 2 (n - 1) / n = 1 of the bytes, in 2 (n - 1) = 2 rounds.
  return { messages: fitLink(name, messages), allReduce: fitLink(`${name}, all-reduce`, allReduces, 1, 2) };
}
