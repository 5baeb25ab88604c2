/** Runs the local graphs of all ranks of the tensor axis in one process, node by node, with collectives across them. */
import * as tf from '@tensorflow/tfjs';
import type { Graph, Node, ValueId } from '../../src/graph/graph.js';
import { replayNode } from '../../src/graph/replay.js';
import { ensureKernels } from '../../src/kernels/register.js';
import { mergeShards, takeShard } from '../../src/kernels/shards.js';

export type Feed = Readonly<Record<string, tf.Tensor>>;

/** Every value of every rank's graph: `[rank][value]`. `parameters[rank]` is in step with the graph's parameters. */
export function runLockstep(
  graphs: readonly Graph[],
  feed: Feed,
  parameters: readonly (readonly tf.Tensor[])[],
): tf.Tensor[][] {
  ensureKernels(tf.getBackend());
  const ranks = graphs.map((graph, rank) => bind(graph, feed, parameters[rank] ?? []));
  const [first] = graphs;
  first?.nodes.forEach((node, index) => {
    const nodes = graphs.map((graph) => graph.nodes[index]!);
    if (nodes.some((other) => other.kernel !== node.kernel))
      throw new Error(`ranks differ at node ${index}: ${node.kernel}`);
    const inputs = nodes.map((one, rank) => one.inputs.map((id) => get(ranks[rank]!, id)));
    const outputs = runNode(nodes, inputs);
    nodes.forEach((one, rank) => {
      outputs[rank]!.forEach((tensor, i) => {
        const id = one.outputs[i]!;
        const expected = graphs[rank]!.values[id]!;
        if (tensor.shape.join() !== expected.shape.join() || tensor.dtype !== expected.dtype) {
          throw new Error(
            `${one.kernel}: [${tensor.shape}] ${tensor.dtype}, planned [${expected.shape}] ${expected.dtype}`,
          );
        }
        ranks[rank]![id] = tensor;
      });
    });
  });
  return ranks;
}

function bind(graph: Graph, feed: Feed, parameters: readonly tf.Tensor[]): tf.Tensor[] {
  const values: tf.Tensor[] = [];
  for (const { name, value } of graph.inputs) values[value] = feed[name]!;
  graph.parameters.forEach(({ value }, i) => {
    values[value] = parameters[i]!;
  });
  for (const { value, data } of graph.constants) {
    values[value] = tf.tensor(data, [...graph.values[value]!.shape], graph.values[value]!.dtype);
  }
  return values;
}

function get(values: readonly tf.Tensor[], id: ValueId): tf.Tensor {
  const found = values[id];
  if (found === undefined) throw new Error(`value ${id} is not bound`);
  return found;
}

function runNode(nodes: readonly Node[], inputs: readonly (readonly tf.Tensor[])[]): tf.Tensor[][] {
  const [node] = nodes;
  const xs = inputs.map(([x]) => x!);
  const kernel = node?.kernel.replace(/Start$/, '');
  if (node !== undefined && (kernel === 'MerakAllReduce' || kernel === 'MerakReduceScatter')) {
    const combine = node.attrs.op === 'max' ? tf.maximum : tf.add;
    const total = xs.reduce((sum, x) => combine(sum, x));
    if (kernel === 'MerakAllReduce') return xs.map(() => [tf.clone(total)]);
    return nodes.map(({ attrs: { dim, parts, paddedSize, degree, index } }) => [
      takeShard(total, Number(dim), Number(parts), Number(paddedSize), Number(degree), Number(index)),
    ]);
  }
  if (node !== undefined && kernel === 'MerakAllGather') {
    const { dim, parts, size } = node.attrs;
    const whole = mergeShards(xs, Number(dim), Number(parts), Number(size));
    return xs.map(() => [tf.clone(whole)]);
  }
  return nodes.map((one, rank) => replayNode(one, inputs[rank]!));
}
