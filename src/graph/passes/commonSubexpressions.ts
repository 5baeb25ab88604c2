/** Pass: computes the same thing once. */
import type { Graph, ValueId } from '../graph.js';
import { type Rewriter, rewriteGraph } from './rewrite.js';

/** Each of these is its own draw, however alike two look. */
const DISTINCT = new Set(['MerakDropout', 'MerakRandom']);

/** Constants up to this many elements are compared. */
const MAX_COMPARED_SIZE = 64;

/** Merges nodes of the same kernel, attributes and inputs. Nodes without inputs stay: they are cheaper than a long-lived value. */
export function commonSubexpressions(graph: Graph): Graph {
  const sameConstant = mergeConstants(graph);
  const seen = new Map<string, readonly ValueId[]>();
  return rewriteGraph(graph, (node, { resolve }: Rewriter) => {
    if (DISTINCT.has(node.kernel) || node.inputs.length === 0) return null;
    const inputs = node.inputs.map((id) => {
      const resolved = resolve(id);
      return sameConstant.get(resolved) ?? resolved;
    });
    const key = JSON.stringify([node.kernel, node.inputNames, inputs, sortKeys(node.attrs)]);
    const earlier = seen.get(key);
    if (earlier !== undefined) return earlier;
    seen.set(key, node.outputs);
    return null;
  });
}

/** Constant -> the first constant with the same data. */
function mergeConstants(graph: Graph): Map<ValueId, ValueId> {
  const first = new Map<string, ValueId>();
  const merged = new Map<ValueId, ValueId>();
  for (const { value, data } of graph.constants) {
    if (data.length > MAX_COMPARED_SIZE) continue;
    const { shape, dtype } = graph.values[value]!;
    const key = JSON.stringify([
      shape,
      dtype,
      Array.from(data, (element) => (Object.is(element, -0) ? '-0' : String(element))),
    ]);
    const earlier = first.get(key);
    if (earlier === undefined) first.set(key, value);
    else merged.set(value, earlier);
  }
  return merged;
}

function sortKeys(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sortKeys(inner)]),
  );
}
