/** Passes over a stage, before and after it is differentiated: fewer trips through memory, and mixed precision where asked for. */
import type { Derivative } from '../autodiff/derivative.js';
import type { Graph, ValueId } from '../graph/graph.js';
import { autocast, type NarrowPrecision } from '../graph/passes/autocast.js';
import { joinResiduals } from '../graph/passes/joinResiduals.js';
import { packAttention } from '../graph/passes/packAttention.js';
import { raiseBatchNorm } from '../graph/passes/raiseBatchNorm.js';
import { roundProducts } from '../graph/passes/roundProducts.js';
import { joinSteps } from './joinSteps.js';

export type Precision = 'f32' | 'tf32' | NarrowPrecision;

/**
 * A stage as it is differentiated: batch norms are one node, on the processor. Where chains are fused, which is on cards, they stay in
 * parts, of which chains are made.
 */
export function fuseStage<T extends { readonly graph: Graph }>(stage: T, fusesChains: boolean | undefined): T {
  return fusesChains === true ? stage : { ...stage, graph: raiseBatchNorm(stage.graph) };
}

/** The same derivative with other nodes between the values that the rest of the plan names; the number of forward nodes stays. */
export function fuseDerivative(differentiated: Derivative, precision: Precision): Derivative {
  const derivative = joinSteps(differentiated);
  const { numForwardNodes } = derivative;
  const gradients = [...derivative.parameterGradients, ...derivative.receivedGradients, ...derivative.outputGradients];
  const fixed = new Set(gradients.filter((value): value is ValueId => value !== null));
  const packed = packAttention(derivative.graph, numForwardNodes);
  const joined = joinResiduals(packed, numForwardNodes, fixed);
  if (precision === 'f32') return { ...derivative, graph: joined };
  const graph = precision === 'tf32' ? roundProducts(joined) : autocast(joined, numForwardNodes, fixed, precision);
  return { ...derivative, graph };
}
