/** A graph of one kernel call: what a stopwatch runs and the cost rules read. */
import type { Attrs, DType, Graph, Node } from './graph.js';

export interface KernelCall {
  readonly graph: Graph;
  readonly node: Node;
}

/** A tensor: its shape, of float32; or shape and dtype. */
export type TensorSketch = readonly number[] | { readonly shape: readonly number[]; readonly dtype: DType };

export function kernelCall(
  kernel: string,
  inputs: Readonly<Record<string, TensorSketch>>,
  outputs: readonly TensorSketch[],
  attrs: Attrs = {},
): KernelCall {
  const numInputs = Object.keys(inputs).length;
  const node: Node = {
    kernel,
    inputs: Object.keys(inputs).map((_, index) => index),
    inputNames: Object.keys(inputs),
    outputs: outputs.map((_, index) => numInputs + index),
    attrs,
    scope: '',
  };
  const values = [...Object.values(inputs), ...outputs].map((sketch) => ({
    ...('shape' in sketch ? sketch : { shape: sketch, dtype: 'float32' as const }),
    batchDim: -1,
  }));
  const none = { inputs: [], parameters: [], constants: [], outputs: [], updates: [] };
  return { node, graph: { values, nodes: [node], ...none } };
}
