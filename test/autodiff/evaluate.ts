/** Computes every value of a graph on the current backend. */
import * as tf from '@tensorflow/tfjs';
import type { Graph, ValueId } from '../../src/graph/graph.js';

export type Bindings = ReadonlyMap<ValueId, tf.Tensor>;

export function evaluate(graph: Graph, bindings: Bindings): Map<ValueId, tf.Tensor> {
  const tensors = new Map<ValueId, tf.Tensor>(bindings);
  for (const { value, data } of graph.constants) {
    const type = graph.values[value];
    if (type !== undefined) tensors.set(value, tf.tensor(data, [...type.shape], type.dtype));
  }
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((id) => {
      const tensor = tensors.get(id);
      if (tensor === undefined) throw new Error(`value ${id} of ${node.kernel} is not computed`);
      return tensor;
    });
    const listed = node.inputNames.length > 0 && node.inputNames.every((name, index) => name === String(index));
    const named = Object.fromEntries(node.inputNames.map((name, index) => [name, inputs[index]]));
    const result: tf.Tensor | tf.Tensor[] = tf
      .engine()
      .runKernel(node.kernel, (listed ? inputs : named) as tf.NamedTensorMap, { ...node.attrs } as tf.NamedAttrMap);
    const outputs = Array.isArray(result) ? result : [result];
    node.outputs.forEach((id, index) => {
      const output = outputs[index];
      const shape = graph.values[id]?.shape ?? [];
      if (output === undefined || JSON.stringify(output.shape) !== JSON.stringify(shape)) {
        throw new Error(`${node.kernel} gave [${output?.shape}], the graph says [${shape}]`);
      }
      tensors.set(id, output);
    });
  }
  return tensors;
}
