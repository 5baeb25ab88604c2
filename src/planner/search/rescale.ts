/** Layouts found for a model at one micro-batch size, for the same model at another. */
import type { Graph, ValueId } from '../../graph/graph.js';
import type { Assignment } from '../../tensorparallel/assignment.js';
import type { Layout } from '../../tensorparallel/layout.js';

/**
 * Where a sharded dim is longer by a factor, so is its padded size, and of [samples, positions] seen as one dim there are as
 * many more parts. Undefined where the graphs are not alike or the sizes have no common measure; whether the layouts are
 * legal is for `localise` to say.
 */
export function rescaleAssignment(assignment: Assignment, from: Graph, to: Graph): Assignment | undefined {
  if (from.values.length !== to.values.length || from.nodes.length !== to.nodes.length) return undefined;
  let fits = true;
  const rescaled = (layout: Layout, value: ValueId): Layout => {
    if (layout.kind !== 'shard') return layout;
    const [before = 0, after = 0] = [from.values[value]?.shape[layout.dim], to.values[value]?.shape[layout.dim]];
    if (before === after) return layout;
    const [parts, paddedSize] = [(layout.parts * after) / before, (layout.paddedSize * after) / before];
    fits &&= Number.isInteger(parts) && Number.isInteger(paddedSize);
    return { ...layout, parts, paddedSize };
  };
  const layouts = assignment.layouts.map(rescaled);
  const inputLayouts = to.nodes.map((node, index) =>
    node.inputs.map((value, input) =>
      rescaled(assignment.inputLayouts[index]?.[input] ?? { kind: 'replicate' }, value),
    ),
  );
  return fits ? { ...assignment, layouts, inputLayouts } : undefined;
}
