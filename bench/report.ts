/** What a run of the benchmarks measured, as plain data: the .json beside every page of bench/results. */
import { readFileSync } from 'node:fs';
import type { Limits } from './limits.js';
import type { LossCurve } from './lossCurves.js';
import type { Machine } from './machine.js';
import type { StartupResult } from './startup.js';
import type { OverlapRow } from './training/overlap.js';
import type { Missing, TrainingRow } from './training/result.js';
import type { Torch } from './training/torch.js';

export interface Report {
  /** What was run: names of bench/run.ts's parts. */
  readonly parts: readonly string[];
  readonly machine: Machine;
  readonly quick: boolean;
  readonly minutes: number;
  readonly torches: readonly Omit<Torch, 'env'>[];
  readonly limits: Limits;
  readonly training: readonly TrainingRow[];
  readonly missing: readonly Missing[];
  readonly overlap?: readonly OverlapRow[];
  readonly startup?: StartupResult;
  readonly curves?: readonly LossCurve[];
}

/** Reports of several runs for one page: of one machine with one build, each part once. Throws where they are not. */
export function readReports(files: readonly string[]): Report[] {
  const reports = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Report);
  const subject = ({ machine }: Report): string =>
    [machine.cpu, machine.numCores, machine.commit, machine.node, machine.oneDnn, machine.isa].join(', ');
  const seen = new Map<string, string>();
  for (const [i, report] of reports.entries()) {
    const [here, first] = [subject(report), subject(reports[0] ?? report)];
    if (here !== first) throw new Error(`${files[i]} is of ${here}, and ${files[0]} of ${first}: one page shows one`);
    for (const part of report.parts) {
      const other = seen.get(part);
      if (other !== undefined) throw new Error(`${files[i]} and ${other} both have ${part}: leave one out`);
      seen.set(part, files[i] ?? '');
    }
  }
  return reports;
}
