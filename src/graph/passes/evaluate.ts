/** The data of values that depend on constants alone, computed on tfjs's CPU backend. */
import * as tf from '@tensorflow/tfjs';
import type { GraphConstant, Node, ValueId } from '../graph.js';
import { replayNode } from '../replay.js';
import { type GraphView, sizeOf } from './view.js';

type Data = GraphConstant['data'];

/** Merak's kernels stay: some draw numbers, some exchange them with other ranks. */
const IMPURE_PREFIX = 'Merak';

export interface Evaluator {
  /** The data of a value, or undefined when it depends on more than constants or has over `maxSize` elements on the way. */
  dataOf(id: ValueId, maxSize: number): Data | undefined;
  /** The one number a constant value holds (size 1, or all elements equal). */
  scalarOf(id: ValueId): number | undefined;
}

const MAX_SCALAR_SIZE = 4096;

export function evaluator(view: GraphView): Evaluator {
  const known = new Map<ValueId, Data | undefined>();
  const computable = dependOnConstants(view);

  function dataOf(id: ValueId, maxSize: number): Data | undefined {
    const constant = view.constant(id) ?? known.get(id);
    if (constant !== undefined) return constant;
    const node = view.producer(id);
    if (node === undefined || !computable.has(id) || known.has(id)) return undefined;
    if (sizeOf(view.value(id).shape) > maxSize) return undefined;
    const inputs: Data[] = [];
    for (const input of node.inputs) {
      const data = dataOf(input, maxSize);
      if (data === undefined) return undefined;
      inputs.push(data);
    }
    const data = run(view, node, inputs);
    known.set(id, data);
    return data;
  }

  return {
    dataOf,
    scalarOf(id) {
      const data = dataOf(id, MAX_SCALAR_SIZE);
      const [first] = data ?? [];
      return first !== undefined && data!.every((element) => element === first) ? first : undefined;
    },
  };
}

function dependOnConstants({ graph }: GraphView): ReadonlySet<ValueId> {
  const found = new Set<ValueId>(graph.constants.map(({ value }) => value));
  for (const { kernel, inputs, outputs } of graph.nodes) {
    if (outputs.length !== 1 || kernel.startsWith(IMPURE_PREFIX)) continue;
    if (inputs.every((id) => found.has(id))) found.add(outputs[0]!);
  }
  return found;
}

/** Undefined when the CPU backend lacks the kernel. */
function run(view: GraphView, node: Node, inputs: readonly Data[]): Data | undefined {
  const { shape, dtype } = view.value(node.outputs[0]!);
  return onCpu(() => {
    if (tf.getKernel(node.kernel, 'cpu') == null) return undefined;
    const tensors = node.inputs.map((id, index) => {
      const { shape, dtype } = view.value(id);
      return tf.tensor(inputs[index]!, [...shape], dtype);
    });
    const [result] = replayNode(node, tensors);
    const data = result!.dataSync();
    if (data.length !== sizeOf(shape)) return undefined;
    if (dtype === 'float32') return Float32Array.from(data);
    return dtype === 'int32' ? Int32Array.from(data) : Uint8Array.from(data);
  });
}

function onCpu<T extends Data | undefined>(body: () => T): T {
  const previous = tf.engine().backendName;
  void tf.setBackend('cpu');
  tf.engine().startScope();
  try {
    return body();
  } finally {
    tf.engine().endScope();
    if (previous != null && previous !== 'cpu') void tf.setBackend(previous);
  }
}
