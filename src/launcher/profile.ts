/** `merak profile`: measures the processors and the memory between ranks of this machine for the cost model. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { MerakError } from '../errors.js';
import { calibrateDevice } from '../planner/costs/calibrate.js';
import { fitLink } from '../planner/costs/fitLink.js';
import { PROFILE_VERSION, type Profile } from '../planner/costs/profile.js';
import { profilePath } from '../planner/costs/profileFile.js';
import { timeCalls } from '../runtime/native/timeCalls.js';
import { timeLink } from '../runtime/native/timeLink.js';
import { watchOthers } from '../runtime/othersLoad.js';

/**
 * Takes some seconds; for ranks of `threads` threads each. All ranks that the cores hold run the same meanwhile, since a core is
 * slower when its neighbours compute too. Raises engine/unsupported without the native engine.
 */
export async function measureProfile(threads: number): Promise<Profile> {
  const ranks = Math.max(1, Math.floor(availableParallelism() / threads));
  const device = await calibrateDevice((calls) => timeCalls(calls, { ranks, threads }), 'cpu', totalmem());
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

/** Prints and writes the profile; returns the exit code. */
export async function profile(options: {
  readonly threads: number;
  readonly report?: string | undefined;
}): Promise<number> {
  const othersSince = watchOthers();
  const measured = await measureProfile(options.threads);
  const others = othersSince();
  if (others > WORTH_A_WARNING) {
    process.stderr.write(
      `merak: other processes had ${others.toFixed(1)} cores meanwhile: on a still machine the figures are better\n`,
    );
  }
  const file = options.report ?? profilePath();
  writeProfile(file, measured);
  process.stdout.write(`${renderProfile(measured)}\nwritten to ${file}\n`);
  return 0;
}

export function renderProfile({ machine, threads, device, links }: Profile): string {
  const rows: [string, string][] = [
    ['machine', `${machine}, ${threads} ${threads === 1 ? 'thread' : 'threads'} per rank`],
    ...device.productFlops.map(({ size, rate }): [string, string] => [
      `product of ${si(size, 'FLOP')}`,
      `${si(rate, 'FLOP/s')}`,
    ]),
    ...(device.thinProductFlops ?? []).map(({ size, rate }): [string, string] => [
      `product with a side of ${size}`,
      si(rate, 'FLOP/s'),
    ]),
    ...Object.entries(device.kernelFlops ?? {}).flatMap(([kernel, curve]) =>
      curve.map(({ size, rate }): [string, string] => [
        curve.length === 1 ? kernel : `${kernel}, ${size} channels`,
        si(rate, 'FLOP/s'),
      ]),
    ),
    ...device.memoryBytesPerSecond.map(({ size, rate }): [string, string] => [
      `kernel over ${si(size, 'B')}`,
      `${si(rate, 'B/s')}`,
    ]),
    ['other arithmetic', si(device.vectorFlopsPerSecond, 'FLOP/s')],
    ['kernel launch', si(device.launchSeconds, 's')],
    ...Object.values(links ?? {}).map(({ name, latencySeconds, bytesPerSecond }): [string, string] => [
      name,
      `${si(latencySeconds, 's')} + bytes / ${si(bytesPerSecond, 'B/s')}`,
    ]),
  ];
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
