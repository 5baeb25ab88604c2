/** What a stage keeps: everything backward reads, or nothing. */
import { describe, expect, it } from 'vitest';
import { differentiate } from '../../src/autodiff/differentiate.js';
import { neededByBackward } from '../../src/autodiff/needed.js';
import { chooseSaved } from '../../src/recompute/saved.js';
import { graphOf } from '../partitioner/graphs.js';

describe('chooseSaved', () => {
  const dense = { kind: 'dense', a: 1, b: 1 } as const;
  const graph = graphOf([
    { ...dense, parameter: 0 },
    { kind: 'relu', a: 1, b: 1, parameter: 0 },
    { ...dense, parameter: 1 },
  ]);
  const derivative = differentiate({ stage: 0, graph, parameterOf: graph.parameters.map((_, index) => index) });

  it('keeps results of forward nodes that backward reads, and no inputs or parameters', () => {
    const needed = neededByBackward(derivative);
    const forward = new Set(graph.nodes.flatMap((node) => node.outputs));
    const read = new Set(derivative.graph.nodes.slice(derivative.numForwardNodes).flatMap((node) => node.inputs));
    expect(needed.size).toBeGreaterThan(0);
    for (const value of needed) expect(forward.has(value) && read.has(value)).toBe(true);
    for (const value of forward) if (read.has(value)) expect(needed.has(value)).toBe(true);
    expect(chooseSaved(derivative, 'none')).toEqual(needed);
    expect(chooseSaved(derivative, 'full').size).toBe(0);
  });
});
