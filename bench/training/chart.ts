/** The training benchmarks in one picture: a panel per workload, bars per run, f32 and bf16 side by side. */
import type { Chart } from '../chart.js';
import type { TrainingRow } from './result.js';

export function trainingChart(rows: readonly TrainingRow[]): Chart {
  const values = rows.map(({ workload, run, precision, modelFlopsPerSecond }) => ({
    workload,
    run,
    precision,
    gigaflops: modelFlopsPerSecond / 1e9,
  }));
  const runs = [...new Set(values.map(({ run }) => run))];
  return {
    title: 'Training: model GFLOP/s by run',
    data: { values },
    columns: 2,
    facet: { field: 'workload', type: 'nominal', title: null, sort: [...new Set(values.map((one) => one.workload))] },
    spec: {
      width: 360,
      mark: 'bar',
      encoding: {
        y: { field: 'run', type: 'nominal', title: null, sort: runs },
        yOffset: { field: 'precision', type: 'nominal', sort: ['f32', 'bf16'] },
        x: { field: 'gigaflops', type: 'quantitative', title: 'model GFLOP/s' },
        color: { field: 'precision', type: 'nominal', sort: ['f32', 'bf16'] },
      },
    },
    resolve: { scale: { x: 'independent', y: 'independent' } },
  };
}
