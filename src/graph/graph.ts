/** The Graph: the one value every technique of Merak takes and returns. Plain data, topologically ordered. */

export type DType = 'float32' | 'int32' | 'bool';

/** Index into `Graph.values`. */
export type ValueId = number;

export type Attr = number | string | boolean | null | readonly Attr[] | { readonly [key: string]: Attr };
export type Attrs = { readonly [name: string]: Attr };

/** A tensor: shape and dtype, no data. */
export interface Value {
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** The dim that grows with the batch (found by tracing at two batch sizes), or -1. */
  readonly batchDim: number;
  /** How programs keep the value: float32 ones as bfloat16 or float16 (autocast), int32 ones within [-127, 127] as int8 (quantisation). */
  readonly storedAs?: 'bfloat16' | 'float16' | 'int8';
}

/** One kernel call. `kernel`, input names and `attrs` are exactly tfjs's (`ENGINE.runKernel(kernel, inputs, attrs)`). */
export interface Node {
  readonly kernel: string;
  readonly inputs: readonly ValueId[];
  /** tfjs's names of the inputs, in step with `inputs` ('a', 'b', 'x', ...; '0', '1', ... when the kernel takes an array). */
  readonly inputNames: readonly string[];
  readonly outputs: readonly ValueId[];
  readonly attrs: Attrs;
  /** Where in the model: layer or name-scope path ('' if none). For messages only; no technique decides by it. */
  readonly scope: string;
  /** The user's `file:line:column` that issued it, when known. */
  readonly source?: string;
}

/** One field of the batch. Its value's dim 0 is the (micro-)batch. */
export interface GraphInput {
  readonly name: string;
  readonly value: ValueId;
}

/** A tf.Variable of the model. The same variable appears once, however many nodes use it: tying is identity. */
export interface GraphParameter {
  readonly name: string;
  readonly value: ValueId;
  readonly trainable: boolean;
  /** How `merak.lazy` recorded its initial value; absent when the variable holds real data. */
  readonly initializer?: Initializer;
}

/** A recorded initialiser. Elements are drawn by Philox keyed by (seed, parameter name, global element index). */
export type Initializer =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'uniform'; readonly low: number; readonly high: number }
  | { readonly kind: 'normal'; readonly mean: number; readonly stddev: number }
  | { readonly kind: 'truncatedNormal'; readonly mean: number; readonly stddev: number };

/** A tensor whose data the trace captured. */
export interface GraphConstant {
  readonly value: ValueId;
  readonly data: Float32Array | Int32Array | Uint8Array;
}

/** Named result. In a training graph `outputs[0]` is the scalar `loss` and the rest are scalar metrics. */
export interface GraphOutput {
  readonly name: string;
  readonly value: ValueId;
}

/** A non-gradient write to a parameter during the forward pass (batch-norm statistics): parameter := value. */
export interface GraphUpdate {
  /** Index into `Graph.parameters`. */
  readonly parameter: number;
  readonly value: ValueId;
}

export interface Graph {
  readonly values: readonly Value[];
  /** In topological order: a node's inputs are inputs, parameters, constants, or outputs of earlier nodes. */
  readonly nodes: readonly Node[];
  readonly inputs: readonly GraphInput[];
  readonly parameters: readonly GraphParameter[];
  readonly constants: readonly GraphConstant[];
  readonly outputs: readonly GraphOutput[];
  readonly updates: readonly GraphUpdate[];
}
