/** `context.fit`: training that is checkpointed as it goes and taken up again where it was left. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BatchSource, ParallelModel } from '../../index.js';
import type { FitResult, TrainerFitOptions } from '../context.js';
import { writeAtomically } from './folders.js';
import type { Snapshots } from './snapshots.js';

const CHECKPOINT = 'checkpoint';
const LOSSES = 'losses.json';
/** Checkpoints of a run whose length is known. */
const NUM_SAVES = 20;
const DEFAULT_SAVE_EVERY = 100;

export async function resumableFit(
  snapshots: Snapshots,
  parallel: ParallelModel,
  source: BatchSource,
  options: TrainerFitOptions = {},
): Promise<FitResult> {
  const { saveEvery, stepHooks = [], onStep, ...rest } = options;
  const latest = snapshots.latest();
  const losses: number[] = [];
  if (latest !== undefined) {
    losses.push(...(JSON.parse(await readFile(join(latest.folder, LOSSES), 'utf8')) as number[]));
    await parallel.restore(join(latest.folder, CHECKPOINT));
  }
  const save = (step: number): Promise<void> =>
    snapshots.save(step, async (folder) => {
      await parallel.checkpoint(join(folder, CHECKPOINT));
      await writeAtomically(join(folder, LOSSES), JSON.stringify(losses.slice(0, step)));
    });
  const history = await parallel.fitDataset(source, {
    ...rest,
    onStep(step, logs) {
      losses[step] = logs.loss!;
      onStep?.(step, logs);
    },
    stepHooks: [...stepHooks, { every: saveEvery ?? defaultSaveEvery(source, options.epochs ?? 1), run: save }],
  });
  await save(losses.length);
  return { history, losses };
}

function defaultSaveEvery(source: BatchSource, epochs: number): number {
  if (source.numBatches === undefined) return DEFAULT_SAVE_EVERY;
  return Math.max(1, Math.ceil((source.numBatches * epochs) / NUM_SAVES));
}
