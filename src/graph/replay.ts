/** Running a graph's kernels again on whatever tfjs backend is current: real numbers, or proxies. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import type { Graph, Node, ValueId } from './graph.js';

/** Calls the node's kernel on tensors in step with `node.inputs`. Under a tape it is differentiated like any kernel. */
export function replayNode(
  node: Pick<Node, 'kernel' | 'inputNames' | 'attrs'>,
  inputs: readonly tf.Tensor[],
): tf.Tensor[] {
  const attrs = node.attrs as tf.NamedAttrMap;
  const result = tf
    .engine()
    .runKernel<tf.Tensor | tf.Tensor[]>(node.kernel, kernelInputs(node.inputNames, inputs), attrs);
  return Array.isArray(result) ? result : [result];
}

/** tfjs's own structure: an array for kernels whose input names are '0', '1', ..., else a map. */
function kernelInputs(names: readonly string[], inputs: readonly tf.Tensor[]): tf.NamedTensorMap {
  const isArray = names.length > 0 && names.every((name, index) => name === String(index));
  // tfjs types every kernel as taking a map; kernels on lists (Concat, AddN, Pack, Einsum) take the array itself.
  if (isArray) return [...inputs] as unknown as tf.NamedTensorMap;
  return Object.fromEntries(names.map((name, index) => [name, inputs[index]!]));
}

export interface ReplayBindings {
  /** Input name -> tensor. */
  readonly inputs: Readonly<Record<string, tf.Tensor>>;
  /** In step with `graph.parameters`. */
  readonly parameters: readonly tf.Tensor[];
}

export interface ReplayResult {
  readonly outputs: Readonly<Record<string, tf.Tensor>>;
  /** In step with `graph.updates`. */
  readonly updates: readonly tf.Tensor[];
  /** Every value, by id. */
  readonly values: readonly tf.Tensor[];
}

/** Runs the whole graph. Intermediate tensors are the caller's to tidy. Raises plan/invalid on a missing binding. */
export function replayGraph(graph: Graph, bindings: ReplayBindings): ReplayResult {
  const values: tf.Tensor[] = [];
  for (const { name, value } of graph.inputs) values[value] = bound(bindings.inputs[name], `input "${name}"`);
  graph.parameters.forEach(({ name, value }, index) => {
    values[value] = bound(bindings.parameters[index], `parameter "${name}"`);
  });
  for (const { value, data } of graph.constants) {
    const { shape, dtype } = graph.values[value]!;
    values[value] = tf.tensor(data, [...shape], dtype);
  }
  const tensorAt = (id: ValueId) => bound(values[id], `value ${id}`);
  for (const node of graph.nodes) {
    replayNode(node, node.inputs.map(tensorAt)).forEach((tensor, index) => {
      values[node.outputs[index]!] = tensor;
    });
  }
  return {
    outputs: Object.fromEntries(graph.outputs.map(({ name, value }) => [name, tensorAt(value)])),
    updates: graph.updates.map(({ value }) => tensorAt(value)),
    values,
  };
}

function bound(tensor: tf.Tensor | undefined, what: string): tf.Tensor {
  if (tensor === undefined) throw new MerakError('plan/invalid', `nothing is bound to ${what}`);
  return tensor;
}
