/** Pass: small subgraphs of constants become constants. */
import type { Graph } from '../graph.js';
import { evaluator } from './evaluate.js';
import { rewriteGraph } from './rewrite.js';
import { viewGraph } from './view.js';

/** Larger results stay computed: a plan carries its constants. */
const MAX_FOLDED_SIZE = 65_536;

/** Evaluates, on the CPU backend, every deterministic node that constants alone feed. Random and collective kernels stay. */
export function foldConstants(graph: Graph): Graph {
  const constants = evaluator(viewGraph(graph));
  return rewriteGraph(graph, (node, { view, addConstant }) => {
    const [output] = node.outputs;
    if (node.outputs.length !== 1 || output === undefined) return null;
    const data = constants.dataOf(output, MAX_FOLDED_SIZE);
    return data === undefined ? null : [addConstant(view.value(output), data)];
  });
}
