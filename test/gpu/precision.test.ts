/**
 * Training in fewer bits on the stand-in card (test/standin): float16 with dynamic loss scaling, bfloat16, tf32, beside the CPU engine in
 * float32. What a real card rounds is only shown on one.
 */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import type { MerakError } from '../../src/errors.js';
import * as merak from '../../src/index.js';
import {
  GPT,
  maxDifference,
  maxRelativeDifference,
  syntheticText,
  type TrainedRun,
  trainGpt,
} from '../layouts/training.js';
import { useStandIns } from './card.js';

useStandIns();
// The first run of all compiles the kernels with g++.
vi.setConfig({ testTimeout: 300_000 });

const SMALL = { numLayers: 2, numHeads: 2, hiddenSize: 32 } as const;
const CARD = { device: 'cuda', threadsPerWorker: 1 } as const;
const folder = mkdtempSync(join(tmpdir(), 'merak-precision-'));

const LAYOUTS = {
  dp2: { dp: 2 },
  tp2: { tp: 2 },
  pp2: { pp: 2, microBatches: 2, schedule: '1f1b' },
} as const;

type Options = Parameters<typeof trainGpt>[0];
interface Scaling {
  readonly scale: number;
  readonly overflows: readonly number[];
}

/** A run on the card in float16, and what it reports of its loss scale. */
async function trainHalf(options: Options, numSteps: number): Promise<TrainedRun & { scaling: Scaling }> {
  const report = join(folder, `${Math.random()}.json`);
  const run = await trainGpt({ ...CARD, precision: 'f16', report, ...options }, SMALL, numSteps);
  return { ...run, scaling: JSON.parse(readFileSync(report, 'utf8')).lossScaling };
}

describe('float16', () => {
  const NUM_STEPS = 5;
  /** The first two scales overflow; the third does not. */
  const TOO_LARGE = { lossScale: 2 ** 60, lossScaleBackoff: 2 ** -25 } as const;
  let serial: TrainedRun;
  let recovered: TrainedRun;
  let initial: Float32Array[];
  beforeAll(async () => {
    serial = await trainGpt({ device: 'native' }, SMALL, NUM_STEPS);
    recovered = await trainHalf(TOO_LARGE, NUM_STEPS);
    const model = merak.models.gpt({ ...GPT, ...SMALL });
    initial = model.variables.map((variable) => (variable.dataSync() as Float32Array).slice());
    model.dispose();
  });

  it('trains as float32 within its error, from the graph too, and grows the scale', async () => {
    const { losses, scaling } = await trainHalf({ microBatches: 2, lossScaleInterval: 2 }, NUM_STEPS);
    expect(maxRelativeDifference(losses, serial.losses)).toBeLessThan(1e-3);
    expect(losses).not.toEqual(serial.losses);
    expect(scaling).toEqual({ scale: 65536 * 4, overflows: [] });
  });

  it('an overflow updates nothing', async () => {
    const { parameters, scaling } = await trainHalf(TOO_LARGE, 2);
    expect(scaling.overflows).toEqual([0, 1]);
    for (const [i, values] of initial.entries()) expect(maxDifference(parameters.get(String(i))!, values)).toBe(0);
  });

  it.each(Object.entries(LAYOUTS))(
    '%s: all ranks skip an overflow together, and training recovers',
    async (_, layout) => {
      const run = await trainHalf({ ...layout, ...TOO_LARGE }, NUM_STEPS);
      expect(run.scaling).toEqual({ scale: 2 ** 10, overflows: [0, 1] });
      // A replica, a shard or a stage that had updated alone would hold infinities and NaN now.
      expect(maxRelativeDifference(run.losses, recovered.losses)).toBeLessThan(1e-3);
      for (const [i, values] of initial.entries()) {
        expect(maxDifference(run.parameters.get(String(i))!, values)).toBeGreaterThan(0);
      }
    },
  );

  it('checkpoints keep the scale, and count only what was an update', async () => {
    const path = join(folder, 'checkpoint');
    const wrap = async (options: Options) => {
      const model = merak.models.gpt({ ...GPT, ...SMALL });
      return {
        model,
        parallel: await merak.wrap(model, {
          ...CARD,
          precision: 'f16',
          logDir: 'runs/test',
          seed: 11,
          optimizer: tf.train.adam(1e-3),
          ...options,
        }),
      };
    };
    const first = await wrap({ lossScale: 2 ** 40, lossScaleBackoff: 2 ** -30 });
    await first.parallel.fitDataset(syntheticText(3), { verbose: 0 });
    await first.parallel.checkpoint(path);
    await first.parallel.close();
    const { progress } = JSON.parse(readFileSync(join(path, 'merak.json'), 'utf8'));
    expect(progress).toMatchObject({ step: 3, updates: 2, lossScaling: { scale: 2 ** 10, goodSteps: 2 } });

    // Of the three good steps that make the scale grow, two are behind it; then three more follow.
    const report = join(folder, 'resumed.json');
    const second = await wrap({ lossScaleInterval: 3, report });
    await second.parallel.restore(path);
    await second.parallel.fitDataset(syntheticText(4), { epochs: 2, verbose: 0 });
    await second.parallel.close();
    expect(JSON.parse(readFileSync(report, 'utf8')).lossScaling).toEqual({ scale: 2 ** 12, overflows: [] });
    first.model.dispose();
    second.model.dispose();
  });

  it('gradients that overflow at scale 1 end training: no smaller scale would mend them', async () => {
    const root = tf.variable(tf.zeros([4]), true, 'root');
    // Finite at 0, its slope infinite.
    const loss = ({ x }: Record<string, tf.Tensor>) => tf.mean(tf.mul(x!, tf.sqrt(root))) as tf.Scalar;
    const batches = tf.data.array([{ x: tf.ones([8, 4]) }]);
    const options = {
      ...CARD,
      precision: 'f16',
      lossScale: 1,
      optimizer: tf.train.sgd(0.1),
      logDir: 'runs/test',
    } as const;
    const parallel = await merak.wrap(loss, options);
    try {
      await expect(parallel.fitDataset(batches, { verbose: 0 })).rejects.toMatchObject({ code: 'engine/nan-loss' });
    } finally {
      await parallel.close();
      root.dispose();
    }
  });

  it.each(['native', 'tfjs'] as const)('is refused on %s', async (device) => {
    const error = await trainGpt({ device, precision: 'f16' }, SMALL, 1).then(
      () => undefined,
      (reason: MerakError) => reason,
    );
    expect(error).toMatchObject({ code: 'engine/unsupported', path: 'precision' });
    expect(error?.hint).toContain('bf16');
  });
});

describe('bfloat16 and tf32', () => {
  it.each(['bf16', 'tf32'] as const)('%s trains as float32 within its error', async (precision) => {
    const serial = await trainGpt({ device: 'native' }, SMALL, 3);
    const run = await trainGpt({ ...CARD, precision, microBatches: 2 }, SMALL, 3);
    const error = maxRelativeDifference(run.losses, serial.losses);
    expect(error).toBeLessThan(precision === 'bf16' ? 1e-2 : 1e-3);
    expect(error).toBeGreaterThan(1e-8);
  });

  it('tf32 on the processor is float32', async () => {
    const [plain, rounded] = [
      await trainGpt({ device: 'native' }, SMALL, 2),
      await trainGpt({ device: 'native', precision: 'tf32' }, SMALL, 2),
    ];
    expect(rounded.losses).toEqual(plain.losses);
  });
});

describe('a NaN on its way through values of 16 bits', () => {
  it.each([
    ['native', 'bf16'],
    ['cuda', 'bf16'],
    ['cuda', 'f16'],
  ] as const)('on %s in %s is followed to the weight that has it', async (device, precision) => {
    const model = merak.models.gpt({ ...GPT, ...SMALL, numLayers: 1 });
    const weight = model.variables.findIndex(({ shape }) => shape.length === 2 && shape[1] === 4 * SMALL.hiddenSize);
    const { shape } = model.variables[weight]!;
    model.variables[weight]!.assign(tf.fill(shape, Number.NaN));
    const options = { device, precision, threadsPerWorker: 1, optimizer: tf.train.sgd(0.1), logDir: 'runs/test' };
    const parallel = await merak.wrap(model, options);
    try {
      const training = parallel.fitDataset(syntheticText(1), { verbose: 0 });
      // The weight's product leaves 16 bits, which gelu and the next product read.
      await expect(training).rejects.toThrow(/whose input was non-finite already: a parameter/);
    } finally {
      await parallel.close();
      model.dispose();
    }
  });
});
