/** Any legal assignment of a graph, drawn at random: what the rules must all get right, likely or not. */
import type { Graph } from '../../src/graph/graph.js';
import type { Assignment } from '../../src/tensorparallel/assignment.js';
import { type Layout, REPLICATE } from '../../src/tensorparallel/layout.js';
import { sameLayout } from '../../src/tensorparallel/shards.js';
import { strategiesOf } from '../../src/tensorparallel/strategies.js';

export function randomAssignment(graph: Graph, degree: number, random: () => number): Assignment {
  for (;;) {
    const assignment = tryAssignment(graph, degree, random);
    if (assignment !== undefined) return assignment;
  }
}

/** undefined where integers end up in a layout that their reader cannot take: no collective converts those. */
function tryAssignment(graph: Graph, degree: number, random: () => number): Assignment | undefined {
  const strategies = strategiesOf(graph, degree, new Map());
  const layouts: (Layout | undefined)[] = graph.values.map(() => undefined);
  for (const { value } of graph.inputs) layouts[value] = REPLICATE;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const inputLayouts: (readonly Layout[])[] = [];
  for (const [index, node] of graph.nodes.entries()) {
    const possible = strategies[index]!.filter((strategy) =>
      node.inputs.every((value, input) => {
        const native = layouts[value];
        const wanted = strategy.inputs[input]!;
        if (native === undefined) return wanted.kind !== 'partial';
        if (sameLayout(native, wanted)) return true;
        return wanted.kind !== 'partial' && graph.values[value]!.dtype === 'float32';
      }),
    );
    if (possible.length === 0) return undefined;
    const sharded = possible.filter(({ spread }) => spread);
    const strategy = sharded.length > 0 && random() < 0.8 ? pick(sharded) : pick(possible);
    node.inputs.forEach((value, input) => {
      const wanted = strategy.inputs[input]!;
      const free = graph.values[value]!.dtype === 'float32' && random() < 0.3;
      layouts[value] ??= free ? REPLICATE : wanted;
    });
    node.outputs.forEach((output, i) => {
      layouts[output] = strategy.outputs[i]!;
    });
    inputLayouts.push(strategy.inputs);
  }
  return {
    degree,
    training: true,
    seconds: 0,
    layouts: layouts.map((layout) => layout ?? REPLICATE),
    inputLayouts,
  };
}

/** A small generator of numbers in [0, 1), the same for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = Math.imul(seed, 2654435761) ^ 0x9e3779b9;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x297a2d39) | 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}
