/** A pipeline stage as a graph of its own. */
import type { Graph } from '../graph/graph.js';

/**
 * `graph.inputs` are the batch fields the stage reads (by field name) followed by the values it receives from the
 * stage before, named `received/0`, `received/1`, ... `graph.outputs` are the values it sends, `sent/0`, ...; on the last
 * stage they are those of the whole graph (`loss`, metrics, or predictions). `sent/k` of stage s is `received/k` of s+1; a
 * value needed further on is passed through. Parameters carry their whole-graph names; `parameterOf[i]` is the index in the whole graph.
 */
export interface Stage {
  readonly stage: number;
  readonly graph: Graph;
  readonly parameterOf: readonly number[];
}
