/** Passes over a differentiated stage: fewer trips through memory, and mixed precision where asked for. */
import type { Derivative } from '../autodiff/derivative.js';
import type { ValueId } from '../graph/graph.js';
import { autocast } from '../graph/passes/autocast.js';
import { joinResiduals } from '../graph/passes/joinResiduals.js';
import { packAttention } from '../graph/passes/packAttention.js';

export type Precision = 'f32' | 'bf16';

/** The same derivative with other nodes between the values that the rest of the plan names; the number of forward nodes stays. */
export function fuseDerivative(derivative: Derivative, precision: Precision): Derivative {
  const { numForwardNodes } = derivative;
  const gradients = [...derivative.parameterGradients, ...derivative.receivedGradients, ...derivative.outputGradients];
  const fixed = new Set(gradients.filter((value): value is ValueId => value !== null));
  const packed = packAttention(derivative.graph, numForwardNodes);
  const joined = joinResiduals(packed, numForwardNodes, fixed);
  return { ...derivative, graph: precision === 'f32' ? joined : autocast(joined, numForwardNodes, fixed) };
}
