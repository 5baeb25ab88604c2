/** `--profile FOLDER`: records the last training steps, writes a trace per rank and prints the operations that took longest. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { MerakError } from '../../errors.js';
import type { Executable, Plan } from '../../plan/plan.js';
import type { StepResult } from '../../runtime/device.js';
import { type Overlap, overlapOf, renderOverlap, sumOverlaps } from './overlap.js';
import { rankTrace } from './rankTrace.js';
import { Recording } from './recording.js';
import { renderTopOperations, type TopOperations, topOperations } from './topOperations.js';

/** What the report holds of a profile. */
export interface ProfileData extends TopOperations {
  readonly overlap: Overlap;
  /** Trace files, in rank order. */
  readonly traces: readonly string[];
}

export class Profiler {
  private readonly recording = new Recording();

  /** `folder` is made, and must be writable: raises config/invalid now rather than after the training. */
  constructor(private readonly folder: string) {
    const probe = join(folder, `.merak-${process.pid}`);
    try {
      mkdirSync(folder, { recursive: true });
      writeFileSync(probe, '');
      rmSync(probe);
    } catch (cause) {
      throw unwritable(folder, cause);
    }
  }

  add(executables: readonly Executable[], results: readonly StepResult[]): void {
    this.recording.add(executables, results);
  }

  /** Writes `rank-<n>.json` for every rank and prints the table; undefined when no step was recorded. */
  finish(plan: Plan, print: (text: string) => void): ProfileData | undefined {
    const ranks = this.recording.byRank();
    if (ranks.length === 0) return undefined;
    const origin = Math.min(...ranks.flat().flatMap(({ spans }) => spans.map(({ begin }) => begin)));
    const traces = plan.ranks.map((rank, index) => {
      const file = resolve(this.folder, `rank-${index}.json`);
      try {
        writeFileSync(file, `${JSON.stringify(rankTrace(rank, ranks[index]!, origin))}\n`);
      } catch (cause) {
        throw unwritable(file, cause);
      }
      return file;
    });
    const top = topOperations(plan.ranks, ranks);
    const overlap = sumOverlaps(ranks.flat().map(({ spans }) => overlapOf(spans)));
    print(renderTopOperations(top));
    if (overlap.exchangeSeconds > 0) print(renderOverlap(overlap));
    print(`traces for ui.perfetto.dev: ${resolve(this.folder)}/rank-<n>.json`);
    return { ...top, overlap, traces };
  }
}

function unwritable(path: string, cause: unknown): MerakError {
  const text = cause instanceof Error ? cause.message : String(cause);
  return new MerakError('config/invalid', `the profile cannot be written: ${text}`, {
    path: `--profile ${path}`,
    expected: 'a folder that can be made and written',
    hint: 'name another folder',
    cause,
  });
}
