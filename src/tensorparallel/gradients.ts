/** Which values a gradient flows into: the floats computed from trainable parameters. */
import type { Graph } from '../graph/graph.js';

/** Kernels with float outputs and inputs whose output does not depend differentiably on them. */
const STOPS_GRADIENT: ReadonlySet<string> = new Set([
  'ZerosLike',
  'OnesLike',
  'Sign',
  'Floor',
  'Ceil',
  'Round',
  'Step',
]);

/** Per value of the graph: whether training needs its gradient. */
export function valuesWithGradient(graph: Graph): readonly boolean[] {
  const needed = graph.values.map(() => false);
  for (const { value, trainable } of graph.parameters) {
    needed[value] = trainable && graph.values[value]?.dtype === 'float32';
  }
  for (const node of graph.nodes) {
    if (STOPS_GRADIENT.has(node.kernel) || !node.inputs.some((input) => needed[input])) continue;
    for (const output of node.outputs) needed[output] = graph.values[output]?.dtype === 'float32';
  }
  return needed;
}
