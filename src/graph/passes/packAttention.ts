/** Attention reads q, k and v where the fused projection left them, and writes their gradients side by side. */
import type { Graph, Node, ValueId } from '../graph.js';
import { VIEWS } from '../views.js';

/**
 * MerakAttention over the three pieces of one split along the last dim becomes MerakPackedAttention over the whole, and
 * MerakAttentionGrad, MerakPackedAttentionGrad with the whole's gradient where the three are only concatenated again. The first
 * `numForwardNodes` nodes stay where they are; those that nothing needs any more are left for whoever lowers the graph.
 */
export function packAttention(graph: Graph, numForwardNodes: number): Graph {
  const producer = new Map<ValueId, Node>();
  const readers = new Map<ValueId, Node[]>();
  for (const node of graph.nodes) {
    for (const output of node.outputs) producer.set(output, node);
    for (const input of node.inputs) readers.set(input, [...(readers.get(input) ?? []), node]);
  }
  const named = (node: Node, name: string): ValueId => node.inputs[node.inputNames.indexOf(name)] ?? -1;
  const shape = (value: ValueId) => graph.values[value]?.shape ?? [];
  const behindViews = (value: ValueId): ValueId => {
    const node = producer.get(value);
    return node !== undefined && VIEWS.has(node.kernel) ? behindViews(node.inputs[0] ?? -1) : value;
  };

  /** What q, k and v are pieces of, or undefined. */
  function wholeOf(node: Node): ValueId | undefined {
    const pieces = ['q', 'k', 'v'].map((name) => behindViews(named(node, name)));
    const split = producer.get(pieces[0] ?? -1);
    if (split?.kernel !== 'SplitV' || split.outputs.length !== 3) return undefined;
    if (!pieces.every((piece, index) => split.outputs[index] === piece)) return undefined;
    const whole = split.inputs[0] ?? -1;
    const [, , heads = 0, depth = 0] = shape(named(node, 'q'));
    const isPacked = pieces.every((piece) => shape(piece).at(-1) === heads * depth);
    return isPacked && shape(whole).at(-1) === 3 * heads * depth ? whole : undefined;
  }

  const removed = new Set<Node>();
  /** Follows a gradient through views read once to the concatenation, and marks what becomes unnecessary. */
  function concatenation(gradients: readonly ValueId[]): Node | undefined {
    const passed: Node[] = [];
    const ends = gradients.map((gradient) => {
      let [value, readersOf] = [gradient, readers.get(gradient) ?? []];
      while (readersOf.length === 1 && VIEWS.has(readersOf[0]?.kernel ?? '')) {
        passed.push(readersOf[0] as Node);
        value = readersOf[0]?.outputs[0] ?? -1;
        readersOf = readers.get(value) ?? [];
      }
      return { value, reader: readersOf.length === 1 ? readersOf[0] : undefined };
    });
    const concat = ends[0]?.reader;
    if (concat?.kernel !== 'Concat' || concat.inputs.length !== 3) return undefined;
    if (!ends.every(({ value, reader }, index) => reader === concat && concat.inputs[index] === value))
      return undefined;
    const rank = shape(concat.outputs[0] ?? -1).length;
    const axis = typeof concat.attrs.axis === 'number' ? concat.attrs.axis : 0;
    if ((axis + rank) % rank !== rank - 1) return undefined;
    for (const node of [...passed, concat]) removed.add(node);
    return concat;
  }

  const replaced = new Map<Node, Node>();
  graph.nodes.forEach((node, index) => {
    const isGradient = node.kernel === 'MerakAttentionGrad';
    if (node.kernel !== 'MerakAttention' && !isGradient) return;
    if (isGradient && index < numForwardNodes) return;
    const whole = wholeOf(node);
    if (whole === undefined) return;
    const concat = isGradient ? concatenation(node.outputs) : undefined;
    if (isGradient && concat === undefined) return;
    const others = node.inputNames.flatMap((name, i) =>
      ['q', 'k', 'v'].includes(name) ? [] : [{ name, value: node.inputs[i] ?? -1 }],
    );
    replaced.set(node, {
      ...node,
      kernel: isGradient ? 'MerakPackedAttentionGrad' : 'MerakPackedAttention',
      inputs: [...others.map(({ value }) => value), whole],
      inputNames: [...others.map(({ name }) => name), 'qkv'],
      outputs: concat?.outputs ?? node.outputs,
      attrs: { ...node.attrs, headShape: [...shape(named(node, 'q'))] },
    });
  });
  if (replaced.size === 0) return graph;
  return {
    ...graph,
    nodes: graph.nodes.filter((node) => !removed.has(node)).map((node) => replaced.get(node) ?? node),
  };
}
