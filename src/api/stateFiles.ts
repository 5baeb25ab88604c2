/** merak.saveState, merak.loadState: named tensors of anything that is not a wrapped model, saved as safely as one. */
import * as tf from '@tensorflow/tfjs';
import type { JsonRecord } from '../checkpoint/format.js';
import { openNamedTensors } from '../checkpoint/read.js';
import { writeNamedTensors } from '../checkpoint/write.js';
import { hostArrayOf } from '../data/hostArray.js';
import { toDType } from '../trace/rules/rule.js';

export interface LoadedState {
  /** Yours to dispose. */
  readonly tensors: Readonly<Record<string, tf.Tensor>>;
  readonly progress: JsonRecord;
}

/**
 * Saves tensors by name (safetensors, SHA-256, a commit marker: an interrupted save leaves the older state whole), and plain
 * JSON beside them: the iteration to go on from.
 *
 * @throws MerakError checkpoint/write
 * @example
 * await merak.saveState('runs/solver', { plan, multipliers }, { iteration: 40 });
 */
export async function saveState(
  folder: string,
  tensors: Readonly<Record<string, tf.Tensor>>,
  progress: JsonRecord = {},
): Promise<void> {
  const entries = Object.entries(tensors);
  await writeNamedTensors(
    folder,
    entries.map(([name, { shape, dtype }]) => ({ name, shape: [...shape], dtype: toDType(dtype) })),
    (index) => hostArrayOf(entries[index]![1]),
    progress,
  );
}

/** What `saveState` saved, verified. @throws MerakError checkpoint/missing, checkpoint/corrupt */
export async function loadState(folder: string): Promise<LoadedState> {
  const saved = await openNamedTensors(folder);
  try {
    const tensors: Record<string, tf.Tensor> = {};
    for (const { name, shape, dtype } of saved.tensors) {
      tensors[name] = tf.tensor((await saved.read(name)).data, shape, dtype);
    }
    return { tensors, progress: saved.progress };
  } finally {
    await saved.close();
  }
}
