/** tfjs callbacks and history around Merak's training loop. */
import * as tf from '@tensorflow/tfjs';
import { compiledModel } from '../trace/compiled.js';
import type { UserModel } from '../trace/model.js';

export type Logs = Record<string, number>;

/** What tfjs's fit takes as `callbacks`. */
export type Callbacks = tf.CustomCallbackArgs | readonly (tf.Callback | tf.CustomCallbackArgs)[];

type Hook = 'onTrainBegin' | 'onTrainEnd' | 'onEpochBegin' | 'onEpochEnd' | 'onBatchBegin' | 'onBatchEnd';
type Handler = Partial<Record<Hook, (...args: never[]) => unknown>>;

export interface CallbackList {
  emit(hook: Hook, ...args: readonly unknown[]): Promise<void>;
  /** Whether a callback (tf.callbacks.earlyStopping, or the user's) asked to stop. */
  stopRequested(): boolean;
}

/**
 * Calls every callback in order. A tf.Callback sees the wrapped model when that is a tf.LayersModel; for functional
 * models it sees an object that only has `stopTraining`.
 */
export function callbackList(
  callbacks: Callbacks | undefined,
  model: UserModel,
  params: Readonly<Record<string, unknown>>,
): CallbackList {
  const given = callbacks === undefined ? [] : Array.isArray(callbacks) ? callbacks : [callbacks];
  const standIn = { stopTraining: false };
  // What tfjs's own fit would hand over: for a Sequential that is the model inside it.
  const seen = model instanceof tf.LayersModel ? compiledModel(model) : standIn;
  seen.stopTraining = false;
  for (const callback of given as (tf.Callback | tf.CustomCallbackArgs)[]) {
    if (!('setModel' in callback)) continue;
    callback.setParams({ ...params } as Parameters<tf.Callback['setParams']>[0]);
    callback.setModel(seen as tf.LayersModel);
  }
  return {
    async emit(hook, ...args) {
      for (const callback of given as Handler[]) {
        // `this` must stay the callback: tf.Callback keeps its state there.
        await (callback[hook] as ((...args: readonly unknown[]) => unknown) | undefined)?.call(callback, ...args);
      }
    },
    stopRequested() {
      return seen.stopTraining;
    },
  };
}

/** As tfjs's History: one entry per epoch. */
export interface History {
  readonly epoch: number[];
  readonly history: Record<string, number[]>;
}

export function recordEpoch(history: History, epoch: number, logs: Logs): void {
  history.epoch.push(epoch);
  for (const [key, value] of Object.entries(logs)) {
    history.history[key] ??= [];
    history.history[key].push(value);
  }
}

/** Sample-weighted mean of batch logs, as tfjs's BaseLogger computes an epoch's. */
export class LogMean {
  private readonly sums: Logs = {};
  private numSamples = 0;

  add(logs: Logs, size: number): void {
    for (const [key, value] of Object.entries(logs)) this.sums[key] = (this.sums[key] ?? 0) + value * size;
    this.numSamples += size;
  }

  mean(): Logs {
    return Object.fromEntries(Object.entries(this.sums).map(([key, sum]) => [key, sum / this.numSamples]));
  }
}
