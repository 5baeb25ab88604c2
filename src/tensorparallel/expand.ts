/** Replaces MerakVocabParallelCrossEntropy by the composition in docs/kernels.md: run after differentiation. */
import { MerakError } from '../errors.js';
import type { Attrs, Graph, GraphConstant, Node, Value, ValueId } from '../graph/graph.js';

const KERNEL = 'MerakVocabParallelCrossEntropy';

/**
 * The graph with only kernels that devices have. Existing values keep their ids; new ones and the new nodes' places are
 * the same on every rank. A graph without such nodes is returned as it is.
 */
export function expandVocabParallel(graph: Graph): Graph {
  if (!graph.nodes.some((node) => node.kernel === KERNEL)) return graph;
  const values: Value[] = [...graph.values];
  const constants: GraphConstant[] = [...graph.constants];
  const nodes = graph.nodes.flatMap((node) => (node.kernel === KERNEL ? expandNode(node, values, constants) : [node]));
  return { ...graph, values, constants, nodes };
}

/** `expandVocabParallel` for a joint forward and backward graph (a Derivative): keeps count of the forward nodes. */
export function expandDerivative<T extends { readonly graph: Graph; readonly numForwardNodes: number }>(
  derivative: T,
): T {
  const { graph, numForwardNodes } = derivative;
  const expanded = expandVocabParallel(graph);
  if (expanded === graph) return derivative;
  // The nodes after the forward ones are as many as they were, but for replaced ones: none is made by differentiation.
  const numBackward = graph.nodes.length - numForwardNodes;
  return { ...derivative, graph: expanded, numForwardNodes: expanded.nodes.length - numBackward };
}

function expandNode(node: Node, values: Value[], constants: GraphConstant[]): Node[] {
  const [logits, labels] = ['logits', 'labels'].map((name) => node.inputs[node.inputNames.indexOf(name)]);
  const [loss, logsumexp] = node.outputs;
  const { axis, vocabOffset, vocabLimit, padded } = node.attrs;
  if (logits === undefined || labels === undefined || loss === undefined || logsumexp === undefined) {
    throw new MerakError('plan/invalid', `${KERNEL} lacks an operand`, { path: node.scope });
  }
  if (typeof axis !== 'string' || typeof vocabOffset !== 'number' || typeof vocabLimit !== 'number') {
    throw new MerakError('plan/invalid', `${KERNEL} lacks an attribute`, { path: node.scope });
  }
  const row = values[loss] ?? { shape: [], dtype: 'float32', batchDim: -1 };
  const nodes: Node[] = [];
  const newRow = (dtype: Value['dtype'] = 'float32'): ValueId => values.push({ ...row, dtype }) - 1;
  const call = (
    kernel: string,
    inputs: Readonly<Record<string, ValueId>>,
    outputs: ValueId[],
    attrs: Attrs = {},
  ): void => {
    const { scope, source } = node;
    const operands = { inputs: Object.values(inputs), inputNames: Object.keys(inputs), outputs };
    nodes.push({ kernel, ...operands, attrs, scope, ...(source === undefined ? {} : { source }) });
  };

  const valid = padded === true ? validColumns(logits, vocabLimit, values, call) : logits;
  const [localMax, max, localSum, localTarget, sum, target, logSum, difference] = Array.from({ length: 8 }, () =>
    newRow(),
  );
  call('Max', { x: valid }, [localMax!], { reductionIndices: [1], keepDims: false });
  call('MerakAllReduce', { x: localMax! }, [max!], { axis, op: 'max' });
  call('MerakShardedCrossEntropy', { logits, labels, max: max! }, [localSum!, localTarget!], {
    vocabOffset,
    vocabLimit,
  });
  call('MerakAllReduce', { x: localSum! }, [sum!], { axis, op: 'sum' });
  call('MerakAllReduce', { x: localTarget! }, [target!], { axis, op: 'sum' });
  call('Log', { x: sum! }, [logSum!]);
  call('Add', { a: logSum!, b: max! }, [logsumexp]);
  call('Sub', { a: logsumexp, b: target! }, [difference!]);
  // A negative label counts for nothing; its difference is finite, so a product masks it.
  const zero = values.push({ shape: [], dtype: 'int32', batchDim: -1 }) - 1;
  constants.push({ value: zero, data: Int32Array.of(0) });
  const counts = newRow('bool');
  const mask = newRow();
  call('GreaterEqual', { a: labels, b: zero }, [counts]);
  call('Cast', { x: counts }, [mask], { dtype: 'float32' });
  call('Multiply', { a: difference!, b: mask }, [loss]);
  return nodes;
}

/** Padding columns are zeros, not logits: they must not raise the maximum. A rank of padding only keeps one. */
function validColumns(
  logits: ValueId,
  vocabLimit: number,
  values: Value[],
  call: (kernel: string, inputs: Readonly<Record<string, ValueId>>, outputs: ValueId[], attrs: Attrs) => void,
): ValueId {
  const { shape, dtype, batchDim } = values[logits] ?? { shape: [], dtype: 'float32', batchDim: -1 };
  const size = [shape[0] ?? 1, Math.max(1, vocabLimit)];
  const valid = values.push({ shape: size, dtype, batchDim }) - 1;
  call('Slice', { x: logits }, [valid], { begin: [0, 0], size });
  return valid;
}
