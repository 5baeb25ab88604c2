/** Training whose weights are those of the epoch that scores best, also in a run that was killed and resumed. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { BatchSource, ParallelModel } from '../../index.js';
import type { TrainerContext } from '../context.js';

export interface BestEpochOptions {
  readonly epochs: number;
  readonly learningRate: (step: number) => number;
  /** After every epoch; the highest wins, the first of several. Absent: the last epoch is taken. */
  readonly score?: (() => Promise<number>) | undefined;
}

export interface BestEpoch {
  readonly losses: readonly number[];
  /** After every epoch. */
  readonly scores: readonly number[];
  /** From 0. */
  readonly epoch: number;
  readonly [key: string]: number | readonly number[];
}

/** Leaves the weights in the model's variables. Checkpoints and scores lie under `state/` of the output folder. */
export async function fitBestEpoch(
  context: Pick<TrainerContext, 'fit' | 'output'>,
  name: string,
  parallel: ParallelModel,
  source: BatchSource,
  { epochs, learningRate, score }: BestEpochOptions,
): Promise<BestEpoch> {
  const numBatches = source.numBatches!;
  const record = `state/best/${name}.json`;
  const recorded = await context.output.path(record);
  // A run taken up again finds here what earlier epochs gave.
  const scores: number[] = existsSync(recorded) ? JSON.parse(await readFile(recorded, 'utf8')) : [];
  const folderOf = (epoch: number): Promise<string> => context.output.path(`state/best/${name}-${epoch}`);
  const hook = {
    every: numBatches,
    async run(step: number): Promise<void> {
      const epoch = step / numBatches - 1;
      scores[epoch] = await score!();
      if (placeOfBest(scores.slice(0, epoch + 1)) === epoch) await parallel.checkpoint(await folderOf(epoch));
      await context.output.json(record, scores);
    },
  };
  const stepHooks = score === undefined ? [] : [hook];
  const { losses } = await context.fit(`train-${name}`, parallel, source, { epochs, learningRate, stepHooks });
  const epoch = score === undefined ? epochs - 1 : placeOfBest(scores);
  if (epoch < epochs - 1) {
    await parallel.restore(await folderOf(epoch));
    // No step is taken: the weights come back into the model's variables.
    await parallel.fitDataset(source, { stopWhen: () => true, verbose: 0 });
  }
  return { losses, scores, epoch };
}

/** Of the largest, the first of several. */
function placeOfBest(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}

/** Rises over the first `share` of the steps, then falls to zero, linearly. */
export function warmUpThenDecay(peak: number, steps: number, share: number): (step: number) => number {
  const rise = Math.max(1, Math.ceil(steps * share));
  return (step) => peak * Math.min((step + 1) / rise, (steps - step) / Math.max(1, steps - rise + 1));
}
