/** Predicted against measured step times: a dot per layout, and the band in which predictions should lie. */
import type { Chart } from '../chart.js';

export interface Compared {
  readonly name: string;
  readonly measured: number;
  readonly predicted: number;
}

/** @param mark the largest share by which a prediction may be off */
export function predictionChart(title: string, rows: readonly Compared[], mark: number): Chart {
  const order = rows.map(({ name }) => name);
  const values = rows.flatMap(({ name, measured, predicted }) => [
    {
      name,
      what: 'measured',
      milliseconds: measured * 1e3,
      from: measured * (1 - mark) * 1e3,
      to: measured * (1 + mark) * 1e3,
    },
    { name, what: 'predicted', milliseconds: predicted * 1e3 },
  ]);
  const y = { field: 'name', type: 'nominal', title: null, sort: order } as const;
  return {
    title: { text: title, subtitle: `band: within ${100 * mark} % of measured` },
    data: { values },
    width: 460,
    layer: [
      {
        transform: [{ filter: "datum.what === 'measured'" }],
        mark: { type: 'bar', height: 12, color: '#dfe3ea' },
        encoding: { y, x: { field: 'from', type: 'quantitative' }, x2: { field: 'to' } },
      },
      {
        mark: { type: 'point', filled: true, size: 70, opacity: 1 },
        encoding: {
          y,
          x: { field: 'milliseconds', type: 'quantitative', title: 'milliseconds per step', scale: { zero: true } },
          color: { field: 'what', type: 'nominal', title: null, sort: ['measured', 'predicted'] },
          shape: { field: 'what', type: 'nominal', title: null, sort: ['measured', 'predicted'] },
        },
      },
    ],
  };
}
