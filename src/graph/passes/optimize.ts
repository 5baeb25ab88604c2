/** All passes in order: from a graph as traced to the one the planner works on. */
import { eliminateDeadNodes } from '../clean.js';
import type { Graph } from '../graph.js';
import { commonSubexpressions } from './commonSubexpressions.js';
import { foldConstants } from './foldConstants.js';
import { raiseAttention } from './raiseAttention.js';
import { raiseCrossEntropy } from './raiseCrossEntropy.js';
import { raiseEmbedding } from './raiseEmbedding.js';
import { raiseGelu } from './raiseGelu.js';
import { raiseLayerNorm } from './raiseLayerNorm.js';
import { simplify } from './simplify.js';
import { splitFused } from './splitFused.js';

export type Pass = (graph: Graph) => Graph;

/** Cleaning first makes composites look alike however they were written; cleaning last removes what raising left over. */
export const PASSES: readonly Pass[] = [
  splitFused,
  eliminateDeadNodes,
  simplify,
  commonSubexpressions,
  eliminateDeadNodes,
  raiseLayerNorm,
  raiseAttention,
  raiseGelu,
  raiseCrossEntropy,
  raiseEmbedding,
  eliminateDeadNodes,
  foldConstants,
  simplify,
  commonSubexpressions,
  eliminateDeadNodes,
];

/** The same function of the same inputs and parameters (to about 1e-5), with fewer and larger nodes. */
export function optimizeGraph(graph: Graph): Graph {
  return PASSES.reduce((current, pass) => pass(current), graph);
}
