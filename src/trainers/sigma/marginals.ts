/** The mass of each node. */
import { degrees, type EdgeList } from '../readers/edges.js';

export interface Marginals {
  readonly sourceMass: Float32Array;
  readonly targetMass: Float32Array;
}

/** Each side sums to 1. By degree a node has one more than its edges, so that none is without mass. */
export function marginalsOf(source: EdgeList, target: EdgeList, kind: 'uniform' | 'degree'): Marginals {
  const mass = (graph: EdgeList): Float32Array => {
    if (kind === 'uniform') return new Float32Array(graph.numNodes).fill(1 / graph.numNodes);
    const counts = degrees(graph);
    const whole = graph.numNodes + 2 * graph.from.length;
    return Float32Array.from(counts, (count) => (count + 1) / whole);
  };
  return { sourceMass: mass(source), targetMass: mass(target) };
}
