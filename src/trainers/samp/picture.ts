/** Accuracy, divergence and latency by the number of int8 layers, a curve for each mode. */
import type { TopLevelSpec } from 'vega-lite';
import type { Measured } from './measure.js';

const NAMES = { ffn: 'Quant-FFN-Only', full: 'Fully-Quant' } as const;

export function modeName(mode: Measured['mode']): string {
  return NAMES[mode];
}

/** `recommended` is marked in every panel. */
export function picture(measured: readonly Measured[], recommended: Measured): TopLevelSpec {
  const modes = [...new Set(measured.map(({ mode }) => mode))];
  const values = modes.flatMap((mode) =>
    measured
      .filter((one) => one.numLayers === 0 || one.mode === mode)
      .map((one) => ({
        mode: modeName(mode),
        layers: one.numLayers,
        accuracy: one.metric,
        divergence: one.divergence,
        milliseconds: one.latencySeconds * 1000,
        chosen: one === recommended,
      })),
  );
  const panel = (field: string, title: string) => ({
    width: 260,
    height: 220,
    encoding: {
      x: { field: 'layers', type: 'quantitative' as const, title: 'int8 layers', axis: { tickMinStep: 1 } },
      y: { field, type: 'quantitative' as const, title, scale: { zero: field === 'milliseconds' } },
      color: { field: 'mode', type: 'nominal' as const, title: null },
    },
    layer: [
      { mark: { type: 'line' as const, point: true } },
      {
        transform: [{ filter: 'datum.chosen' }],
        mark: { type: 'point' as const, size: 200, strokeWidth: 2, color: 'black', filled: false },
        encoding: { color: { value: 'black' } },
      },
    ],
  });
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: 'Int8 layers: accuracy, divergence from float, latency (circle: recommended)',
    background: 'white',
    data: { values },
    hconcat: [
      panel('accuracy', 'dev accuracy'),
      panel('divergence', 'KL from float (nats)'),
      panel('milliseconds', 'ms per batch'),
    ],
  };
}
