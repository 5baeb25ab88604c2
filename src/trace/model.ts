/** What `wrap` accepts, and what a trace of it yields. */
import type * as tf from '@tensorflow/tfjs';
import type { DType, Graph } from '../graph/graph.js';

/** A batch: named tensors whose dim 0 is the batch. */
export type Batch = Readonly<Record<string, tf.Tensor>>;

/** A scalar loss, alone or with scalar metrics beside it. */
export type LossResult = tf.Scalar | tf.Tensor | ({ readonly loss: tf.Tensor } & Readonly<Record<string, tf.Tensor>>);

export interface CallOptions {
  readonly training: boolean;
}

export type LossFunction = (batch: Batch, options: CallOptions) => LossResult;

/** A functional model: anything with a loss over tf.Variables. `merak.models.gpt()` returns one. */
export interface FunctionalModel {
  loss(batch: Batch, options: CallOptions): LossResult;
  /** Inference outputs per sample (dim 0 is the batch). */
  predict?(batch: Batch): tf.Tensor | Readonly<Record<string, tf.Tensor>>;
}

/** Models arrive compiled from tf.layers, as a loss function, or as an object with one. */
export type UserModel = tf.LayersModel | LossFunction | FunctionalModel;

/** One batch field without its batch dim. */
export interface FieldSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** `train` outputs loss and metrics with training behaviour; `evaluate` the same without; `predict` the model's outputs. */
export type TraceMode = 'train' | 'evaluate' | 'predict';

export interface Trace {
  readonly graph: Graph;
  /** In step with `graph.parameters`. Identity is what ties parameters and what matches traces of different modes. */
  readonly variables: readonly tf.Variable[];
}
