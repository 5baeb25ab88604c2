/** What differentiating a stage yields: one joint graph of forward and backward nodes. */
import type { Graph, ValueId } from '../graph/graph.js';

/**
 * `graph` holds the stage's nodes unchanged (the first `numForwardNodes`, same value ids) followed by the backward
 * nodes. Its inputs are the stage's inputs followed by `gradient/<output name>` for every differentiable sent value.
 * The loss is seeded with 1. `null` where no gradient flows (int32 values, unused inputs, frozen parameters).
 */
export interface Derivative {
  readonly graph: Graph;
  readonly numForwardNodes: number;
  /** Per graph.outputs of the stage: the input value holding the arriving gradient. */
  readonly outputGradients: readonly (ValueId | null)[];
  /** Per received/k of the stage: the value holding the gradient to send back. */
  readonly receivedGradients: readonly (ValueId | null)[];
  /** Per graph.parameters of the stage. */
  readonly parameterGradients: readonly (ValueId | null)[];
}
