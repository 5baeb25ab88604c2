/** How much of the collectives runs beside computation: recorded steps of the workload with marks. */
import type { Overlap } from '../../src/api/profile/overlap.js';
import type { Workload } from '../models/workload.js';
import type { Table } from '../table.js';
import { layoutsOf } from './layouts.js';
import { trainWithMerak } from './merak.js';
import type { Precision } from './result.js';
import { reusableModel } from './reusable.js';

export interface OverlapRow {
  readonly run: string;
  readonly precision: Precision;
  readonly numSteps: number;
  readonly stepSeconds: number;
  /** Sums over ranks and steps. */
  readonly overlap: Overlap;
}

const RUNS: readonly (readonly [string, Precision])[] = [
  ['dp2', 'f32'],
  ['dp2', 'bf16'],
  ['tp2', 'f32'],
];

export async function measureOverlap(workload: Workload, announce: (what: string) => void): Promise<OverlapRow[]> {
  const rows: OverlapRow[] = [];
  const model = reusableModel(workload);
  for (const [name, precision] of RUNS) {
    const layout = layoutsOf(workload).find((one) => one.name === name);
    if (layout === undefined) continue;
    announce(`${workload.name} ${precision}: ${name}, recorded`);
    const { report } = await trainWithMerak(workload, model, layout, { precision, seconds: 0, record: true });
    const { profile } = report;
    if (profile === undefined) continue;
    const { overlap, numSteps, stepSeconds } = profile;
    rows.push({ run: name, precision, numSteps, stepSeconds, overlap });
  }
  model.dispose();
  return rows;
}

export function overlapTable(workload: Workload, rows: readonly OverlapRow[]): Table {
  return {
    title: `Collectives beside computation: ${workload.title}`,
    columns: ['run', 'precision', 'started apart', 'begun before awaited', 'all collectives', 'of the step', 'hidden'],
    rows: rows.map(({ run, precision, numSteps, stepSeconds, overlap }) => {
      const { numStarted, numBegunBefore, exchangeSeconds, hiddenSeconds } = overlap;
      const perRankAndStep = exchangeSeconds / (2 * numSteps);
      return [
        run,
        precision,
        String(numStarted),
        numStarted === 0 ? '-' : `${((numBegunBefore / numStarted) * 100).toFixed(0)} %`,
        `${(perRankAndStep * 1e3).toFixed(1)} ms`,
        `${((perRankAndStep / stepSeconds) * 100).toFixed(0)} %`,
        exchangeSeconds === 0 ? '-' : `${((hiddenSeconds / exchangeSeconds) * 100).toFixed(0)} %`,
      ];
    }),
    notes: [
      'From `--profile`: "all collectives" is their time per rank and step, waiting for the peer included; "hidden": the share in which the step went on computing. Two ranks on two cores: the helper thread that reduces takes its cycles from the one that computes.',
    ],
  };
}
