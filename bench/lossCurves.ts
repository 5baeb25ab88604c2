/** Loss curves of bf16 beside f32: the GPT of examples/gpt learns the same batches of Moby Dick in both. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { loadMobyDick } from '../examples/gpt/text.js';
import type { ReportData } from '../src/api/report.js';
import * as merak from '../src/index.js';
import type { Chart } from './chart.js';
import type { Table } from './table.js';
import type { Precision } from './training/result.js';

export interface LossCurve {
  readonly precision: Precision;
  /** Training loss of every step, nats per byte. */
  readonly losses: readonly number[];
  /** On held-out text, after the last step. */
  readonly heldOut: number;
}

const contextLength = 128;
const batchSize = 8;
const PEAK_RATE = 1.5e-3;
const WARM_UP = 20;

export async function measureCurves(numSteps: number, announce: (what: string) => void): Promise<LossCurve[]> {
  const curves: LossCurve[] = [];
  for (const precision of ['f32', 'bf16'] as const) {
    announce(`loss curve, ${precision}, ${numSteps} steps`);
    curves.push(await train(precision, numSteps));
  }
  return curves;
}

async function train(precision: Precision, numSteps: number): Promise<LossCurve> {
  await tf.setBackend('cpu');
  const folder = mkdtempSync(join(tmpdir(), 'merak-curve-'));
  const report = join(folder, 'report.json');
  const text = loadMobyDick();
  const model = merak.models.gpt({
    vocabularySize: 256,
    contextLength,
    numLayers: 6,
    numHeads: 6,
    hiddenSize: 384,
    seed: 1,
  });
  const parallel = await merak.wrap(model, {
    optimizer: tf.train.adam(PEAK_RATE, 0.9, 0.95),
    clipNorm: 1,
    weightDecay: 0.1,
    dp: 1,
    device: 'native',
    precision,
    report,
  });
  try {
    await parallel.fitDataset(
      merak.data.tokenWindows(text.train, { contextLength, batchSize, numBatches: numSteps, seed: 1 }),
      {
        verbose: 0,
        learningRate: (step) => PEAK_RATE * Math.min(1, (step + 1) / WARM_UP) * (0.05 + 0.95 * (1 - step / numSteps)),
      },
    );
    const held = merak.data.tokenWindows(text.validation, { contextLength, batchSize, numBatches: 12, seed: 2 });
    const [loss] = ((await parallel.evaluateDataset(held)) as tf.Scalar).dataSync();
    const { losses }: ReportData = JSON.parse(readFileSync(report, 'utf8'));
    return { precision, losses, heldOut: loss ?? Number.NaN };
  } finally {
    await parallel.close();
    model.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

const SMOOTHED_OVER = 10;

/** Means of the last few steps: single batches jump. */
function smoothed(losses: readonly number[]): number[] {
  return losses.map((_, step) => {
    const window = losses.slice(Math.max(0, step + 1 - SMOOTHED_OVER), step + 1);
    return window.reduce((sum, loss) => sum + loss, 0) / window.length;
  });
}

export function curvesChart(curves: readonly LossCurve[]): Chart {
  const values = curves.flatMap(({ precision, losses }) =>
    smoothed(losses).map((loss, step) => ({ precision, step: step + 1, loss })),
  );
  return {
    title: `Training loss of examples/gpt (nats per byte, mean of ${SMOOTHED_OVER} steps), f32 and bf16`,
    width: 640,
    height: 320,
    data: { values },
    mark: { type: 'line', strokeWidth: 1.5 },
    encoding: {
      x: { field: 'step', type: 'quantitative' },
      y: { field: 'loss', type: 'quantitative', scale: { zero: false } },
      color: { field: 'precision', type: 'nominal' },
      strokeDash: { field: 'precision', type: 'nominal' },
    },
  };
}

export function curvesTable(curves: readonly LossCurve[]): Table {
  const steps = curves[0]?.losses.length ?? 0;
  const at = [1, 10, 50, 100, 200, 300, 400].filter((step) => step < steps).concat(steps);
  const [first, second] = curves;
  const gap = (first?.losses ?? []).map((loss, step) => Math.abs(loss - (second?.losses[step] ?? loss)) / loss);
  return {
    title: `Loss of bf16 beside f32: examples/gpt, ${steps} steps`,
    columns: ['precision', ...at.map((step) => `step ${step}`), 'held-out'],
    rows: curves.map(({ precision, losses, heldOut }) => [
      precision,
      ...at.map((step) => (smoothed(losses)[step - 1] ?? Number.NaN).toFixed(3)),
      heldOut.toFixed(3),
    ]),
    notes: [
      `Means of ${SMOOTHED_OVER} steps; the same batches, the same initial weights. Largest relative difference of a single step's loss: ${(Math.max(0, ...gap) * 100).toFixed(2)} %.`,
    ],
  };
}
