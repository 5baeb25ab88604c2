/** A workload's results as a table. */
import { formatBytes } from '../../src/plan/memoryReport.js';
import type { Workload } from '../models/workload.js';
import type { Table } from '../table.js';
import type { TrainingRow } from './result.js';
import type { TrainingResult } from './train.js';

export function trainingTable(workload: Workload, { rows, missing }: TrainingResult): Table {
  const all = [
    ...rows.map((row) => ({ run: row.run, precision: row.precision, cells: cellsOf(workload, row) })),
    ...missing.map(({ run, precision }) => ({ run, precision, cells: ['not run', ...Array<string>(7).fill('')] })),
  ];
  return {
    title: workload.title,
    columns: [
      'run',
      'precision',
      'threads',
      `${workload.unit}/s`,
      'ms/step',
      'GFLOP/s',
      'of matmul',
      'peak per rank',
      'planned / measured',
      'loss',
    ],
    rows: all.map(({ run, precision, cells }) => [run, precision, ...cells]),
    notes: [
      `GFLOP/s of the model: ${workload.flopsConvention}.`,
      ...missing.map(
        ({ contestant, run, precision, reason }) => `not run: ${contestant}, ${run}, ${precision}: ${reason}`,
      ),
    ],
  };
}

function cellsOf(workload: Workload, row: TrainingRow): string[] {
  const { numThreads, unitsPerSecond, stepSeconds, modelFlopsPerSecond, ratioToMatmul, batchSize, peak } = row;
  const batch = batchSize === workload.batchSize ? '' : ` (batch ${batchSize})`;
  const measured = peak === undefined ? row.residentBytes : peak.measured + peak.workspace;
  return [
    String(numThreads),
    unitsPerSecond.toFixed(unitsPerSecond < 100 ? 1 : 0),
    `${(stepSeconds * 1000).toFixed(stepSeconds < 0.1 ? 1 : 0)}${batch}`,
    (modelFlopsPerSecond / 1e9).toFixed(modelFlopsPerSecond < 1e10 ? 1 : 0),
    ratioToMatmul === undefined ? '-' : `${(ratioToMatmul * 100).toFixed(0)} %`,
    measured === undefined ? '-' : formatBytes(measured),
    peak === undefined ? '-' : `${((peak.planned / (peak.measured + peak.workspace)) * 100).toFixed(1)} %`,
    row.loss.toFixed(3),
  ];
}

/** How to read the tables. */
export const TRAINING_NOTES: readonly string[] = [
  '"of matmul": GFLOP/s over oneDNN\'s own product of two 2048 x 2048 matrices, of this precision with as many threads, measured in this run.',
  'Merak: wrap and fitDataset, wall clock of whole rounds, data and optimizer included; the fastest round after one that warms up. Adam everywhere.',
  'peak per rank: Merak: resident arenas, kernel scratch and packed weights of the largest rank ("planned": what the plan said of the arenas); others: growth of resident memory.',
  'tfjs on WASM: optimizer.minimize or trainOnBatch in a loop; PyTorch: the same model, bf16 by autocast; f32 with two threads is the faster of two ways for threads of OpenMP to wait. Either is timed on fewer samples, as said in the row, where a whole step would take too long: the rate per token is what counts.',
];
