/** `merak profile`: measures the processors, the cards and what joins ranks of this machine for the cost model. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { MerakError } from '../errors.js';
import type { Link } from '../pipeline/network.js';
import { calibrateDevice } from '../planner/costs/calibrate.js';
import { CORE_SIZES, calibrationCalls } from '../planner/costs/calibrationCalls.js';
import type { DeviceModel } from '../planner/costs/device.js';
import { fitLink } from '../planner/costs/fitLink.js';
import { type CardProfile, PROFILE_VERSION, type Profile } from '../planner/costs/profile.js';
import { profilePath, readProfile } from '../planner/costs/profileFile.js';
import { findGpus, requireGpus } from '../runtime/native/gpus.js';
import { timeCalls } from '../runtime/native/timeCalls.js';
import { timeLink } from '../runtime/native/timeLink.js';
import { watchOthers } from '../runtime/othersLoad.js';
import { type CardMeasurement, measureCards } from './profileCards.js';

/**
 * Takes some seconds; for ranks of `threads` threads each. All ranks that the cores hold run the same meanwhile, since a core is
 * slower when its neighbours compute too. Raises engine/unsupported without the native engine.
 */
export async function measureProfile(threads: number): Promise<Profile> {
  const ranks = Math.max(1, Math.floor(availableParallelism() / threads));
  const calls = calibrationCalls(CORE_SIZES);
  const core = { name: 'cpu', memoryBytes: totalmem() };
  const device = await calibrateDevice((list) => timeCalls(list, { ranks, threads }), calls, core);
  const times = await timeLink();
  return {
    version: PROFILE_VERSION,
    measuredAt: new Date().toISOString(),
    machine: cpus()[0]?.model.trim() ?? 'unknown',
    threads,
    device,
    links: {
      messages: fitLink('shm', times.messages),
      // Two ranks: 2 (n - 1) / n = 1 of the bytes, in 2 (n - 1) = 2 rounds.
      allReduce: fitLink('shm all-reduce', times.allReduces, 1, 2),
    },
  };
}

/** Cores that other processes have while the machine is measured, on average. */
const WORTH_A_WARNING = 0.1;

export interface ProfileOptions {
  readonly threads: number;
  /** 'native': the processor; 'cuda': the cards; 'auto': what there is. What is not measured stays as the file has it. */
  readonly device: 'auto' | 'native' | 'cuda';
  readonly report?: string | undefined;
}

/**
 * Prints and writes the profile; returns the exit code. A profile always has its processor: without one in the file, that is measured
 * too. Raises engine/no-gpu when cards are asked for and none is there.
 */
export async function profile(options: ProfileOptions, how?: CardMeasurement): Promise<number> {
  const { threads, device } = options;
  const file = options.report ?? profilePath();
  const cards = device === 'cuda' ? requireGpus() : device === 'auto' ? findGpus() : [];
  const known = readProfile(file);
  const processor = device === 'cuda' && known !== undefined ? known : await measureWatched(threads);
  const own = await measureCards(cards, how);
  const all = { ...known?.cards, ...own };
  const measured = { ...processor, ...(Object.keys(all).length > 0 ? { cards: all } : {}) };
  writeProfile(file, measured);
  const shown = [...(processor === known ? [] : [renderProfile(processor)]), ...Object.entries(own).map(renderCard)];
  process.stdout.write(`${shown.join('\n\n')}\nwritten to ${file}\n`);
  return 0;
}

async function measureWatched(threads: number): Promise<Profile> {
  const othersSince = watchOthers();
  const measured = await measureProfile(threads);
  const others = othersSince();
  if (others > WORTH_A_WARNING) {
    process.stderr.write(
      `merak: other processes had ${others.toFixed(1)} cores meanwhile: on a still machine the figures are better\n`,
    );
  }
  return measured;
}

export function renderProfile({ machine, threads, device, links }: Profile): string {
  return table([
    ['machine', `${machine}, ${threads} ${threads === 1 ? 'thread' : 'threads'} per rank`],
    ...productRows(device),
    ...otherRows(device),
    ...Object.values(links ?? {}).map(linkRow),
  ]);
}

function renderCard([name, card]: [string, CardProfile]): string {
  const { driver, f32, tf32, bf16, sharedLinks, ownLinks } = card;
  const links = [sharedLinks, ownLinks].flatMap((pair) => Object.values(pair ?? {}));
  return table([
    ['card', `${name}, driver ${driver}`],
    ...[f32, tf32, bf16].flatMap((device, index) => productRows(device, ` in ${['f32', 'tf32', 'bf16'][index]}`)),
    ...otherRows(bf16),
    ...links.map(linkRow),
  ]);
}

type Row = [name: string, value: string];

function productRows({ productFlops, thinProductFlops = [] }: DeviceModel, how = ''): Row[] {
  return [
    ...productFlops.map(({ size, rate }): Row => [`product of ${si(size, 'FLOP')}${how}`, `${si(rate, 'FLOP/s')}`]),
    ...thinProductFlops.map(({ size, rate }): Row => [`product with a side of ${size}${how}`, si(rate, 'FLOP/s')]),
  ];
}

function otherRows({ kernelFlops, memoryBytesPerSecond, vectorFlopsPerSecond, launchSeconds }: DeviceModel): Row[] {
  return [
    ...Object.entries(kernelFlops ?? {}).flatMap(([kernel, curve]) =>
      curve.map(
        ({ size, rate }): Row => [curve.length === 1 ? kernel : `${kernel}, ${size} channels`, si(rate, 'FLOP/s')],
      ),
    ),
    ...memoryBytesPerSecond.map(({ size, rate }): Row => [`kernel over ${si(size, 'B')}`, `${si(rate, 'B/s')}`]),
    ['other arithmetic', si(vectorFlopsPerSecond, 'FLOP/s')],
    ['kernel launch', si(launchSeconds, 's')],
  ];
}

function linkRow({ name, latencySeconds, bytesPerSecond }: Link): Row {
  return [name, `${si(latencySeconds, 's')} + bytes / ${si(bytesPerSecond, 'B/s')}`];
}

function table(rows: readonly Row[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

/** Three digits and a prefix from nano to tera. */
function si(value: number, unit: string): string {
  if (value === 0) return `0 ${unit}`;
  const prefixes = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T'];
  const power = Math.min(4, Math.max(-3, Math.floor(Math.log10(value) / 3)));
  return `${(value / 1000 ** power).toPrecision(3)} ${prefixes[power + 3]}${unit}`;
}

function writeProfile(file: string, measured: Profile): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${JSON.stringify(measured, null, 2)}\n`);
  } catch (cause) {
    throw new MerakError('config/invalid', `the profile cannot be written: ${cause}`, { path: file, cause });
  }
}
