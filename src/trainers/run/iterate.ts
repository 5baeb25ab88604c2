/** `context.iterate`: a loop without gradients that is saved as it goes. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { IterateOptions, StepFigures } from '../context.js';
import { writeAtomically } from './folders.js';
import { keeperOf } from './keep.js';
import type { Snapshots } from './snapshots.js';

const FIGURES = 'figures.json';
const NUM_SAVES = 20;

interface Saved {
  readonly figures: StepFigures[];
  /** Whether `until` ended the loop. */
  readonly ended: boolean;
}

export async function resumableIterate(
  snapshots: Snapshots,
  { steps, keep, step, until, saveEvery = Math.max(1, Math.ceil(steps / NUM_SAVES)) }: IterateOptions,
): Promise<readonly StepFigures[]> {
  const keeper = keeperOf(keep);
  const latest = snapshots.latest();
  let saved: Saved = { figures: [], ended: false };
  if (latest !== undefined) {
    saved = JSON.parse(await readFile(join(latest.folder, FIGURES), 'utf8')) as Saved;
    await keeper.load(latest.folder);
  }
  const { figures } = saved;
  let { ended } = saved;
  while (!ended && figures.length < steps) {
    const index = figures.length;
    const now = await step(index);
    figures.push(now);
    ended = until?.(now, index) ?? false;
    if (!ended && figures.length < steps && figures.length % saveEvery !== 0) continue;
    await snapshots.save(figures.length, async (folder) => {
      await keeper.save(folder);
      await writeAtomically(join(folder, FIGURES), JSON.stringify({ figures, ended } satisfies Saved));
    });
  }
  return figures;
}
