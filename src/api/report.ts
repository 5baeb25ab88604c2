/** Everything a command prints, as data: `--report file.json`. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Plan } from '../plan/plan.js';
import type { Logs } from './callbacks.js';
import type { ProfileData } from './profile/profiler.js';

export interface PeakBytes {
  readonly rank: number;
  /** Arenas and workspace. */
  readonly planned: number;
  /** Resident bytes of the rank's arenas; whole pages. */
  readonly measured: number;
  /** Measured beside the arenas: kernel scratch, packed weights and control blocks. */
  readonly workspace: number;
}

export interface ReportData {
  layout?: { dp: number; tp: number; pp: number; microBatches: number; microBatchSize: number };
  schedule?: string;
  device?: string;
  plan?: unknown;
  /** Mean loss of every training step. */
  losses: number[];
  epochs: Logs[];
  stepSeconds?: number;
  samplesPerSecond?: number;
  tokensPerSecond?: number;
  /** Of float16: the scale of the next step, and the steps that overflowed and updated nothing. */
  lossScaling?: { readonly scale: number; readonly overflows: readonly number[] };
  peakBytes?: PeakBytes[];
  profile?: ProfileData;
  evaluation?: Logs;
  maxRelativeLossDifference?: number;
  maxParameterDifference?: number;
}

export class Report {
  readonly data: ReportData = { losses: [], epochs: [] };

  /** @param path where `write` puts the data; undefined keeps it in memory */
  constructor(private readonly path: string | undefined) {}

  describePlan(plan: Plan, device: string): void {
    const { mesh, numMicroBatches: microBatches, microBatchSize, scheduleName } = plan;
    this.data.layout = { dp: mesh.dp, tp: mesh.tp, pp: mesh.pp, microBatches, microBatchSize };
    this.data.schedule = scheduleName;
    this.data.device = device;
  }

  async write(): Promise<void> {
    if (this.path === undefined) return;
    const file = resolve(this.path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, `${JSON.stringify(this.data, null, 1)}\n`);
  }
}

/** Middle value; what a step takes when the machine is not disturbed. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
