/** Passes over a differentiated stage: fewer trips through memory, and mixed precision where asked for. */
import type { Derivative } from '../autodiff/derivative.js';
import type { ValueId } from '../graph/graph.js';
import { autocast, type NarrowPrecision } from '../graph/passes/autocast.js';
import { joinResiduals } from '../graph/passes/joinResiduals.js';
import { packAttention } from '../graph/passes/packAttention.js';
import { roundProducts } from '../graph/passes/roundProducts.js';
import { joinSteps } from './joinSteps.js';

export type Precision = 'f32' | 'tf32' | NarrowPrecision;

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
