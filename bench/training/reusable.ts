/** A model built once and trained many times, each time from the same initial weights: building a large one takes seconds. */
import * as tf from '@tensorflow/tfjs';
import type { BuiltModel, Workload } from '../models/workload.js';

export interface ReusableModel {
  readonly built: BuiltModel;
  /** Puts the initial weights back. */
  reset(): void;
  dispose(): void;
}

export function reusableModel(workload: Workload): ReusableModel {
  const built = workload.build();
  const { model } = built;
  const isLayers = model instanceof tf.LayersModel;
  // Clones share the data, which tfjs never changes in place.
  const initial = (isLayers ? model.getWeights() : model.variables).map((tensor) => tensor.clone());
  return {
    built,
    reset() {
      if (isLayers) model.setWeights(initial);
      else for (const [i, variable] of model.variables.entries()) variable.assign(initial[i]!);
    },
    dispose() {
      tf.dispose(initial);
      model.dispose();
    },
  };
}
