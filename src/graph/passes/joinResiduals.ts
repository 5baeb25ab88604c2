/** The gradient that a residual connection brings past a layer norm is added by the norm's own gradient kernel. */
import type { Graph, Node, ValueId } from '../graph.js';
import { hasExchangeBetween } from './exchanges.js';
import { sameShape } from './view.js';

/**
 * MerakLayerNormGrad whose `dx` is only added to a value of the same shape takes that value as `residual`. It keeps its place where
 * the value is there by then, and else stands where the addition stood. Only among the nodes from `numForwardNodes` on, and not
 * for `fixed` values.
 */
export function joinResiduals(graph: Graph, numForwardNodes: number, fixed: ReadonlySet<ValueId>): Graph {
  const producer = new Map<ValueId, Node>();
  const numReaders = new Map<ValueId, number>();
  for (const node of graph.nodes) {
    for (const output of node.outputs) producer.set(output, node);
    for (const input of node.inputs) numReaders.set(input, (numReaders.get(input) ?? 0) + 1);
  }
  const shape = (value: ValueId) => graph.values[value]?.shape ?? [];
  const backward = new Set(graph.nodes.slice(numForwardNodes));

  function normBehind(value: ValueId): Node | undefined {
    const node = producer.get(value);
    const isAlone = numReaders.get(value) === 1 && !fixed.has(value);
    const isNorm = node?.kernel === 'MerakLayerNormGrad' && node.outputs[0] === value && backward.has(node);
    return isAlone && isNorm && !node.inputNames.includes('residual') ? node : undefined;
  }

  const place = new Map(graph.nodes.map((node, index) => [node, index]));
  /** Where the value is made: -1 when it comes from outside. */
  const madeAt = (value: ValueId) => place.get(producer.get(value) as Node) ?? -1;
  const isRead = (values: readonly ValueId[]) => values.some((value) => numReaders.has(value));

  const replaced = new Map<Node, Node>();
  const removed = new Set<Node>();
  for (const node of backward) {
    const [a, b] = node.inputs;
    if (node.kernel !== 'Add' || a === undefined || b === undefined || a === b) continue;
    const [norm, residual] = normBehind(b) === undefined ? [normBehind(a), b] : [normBehind(b), a];
    if (norm === undefined || !sameShape(shape(a), shape(b))) continue;
    const joined = {
      ...norm,
      inputs: [...norm.inputs, residual],
      inputNames: [...norm.inputNames, 'residual'],
      outputs: [node.outputs[0] ?? -1, ...norm.outputs.slice(1)],
    };
    const [from, to] = [place.get(norm) ?? 0, place.get(node) ?? 0];
    if (madeAt(residual) < from) {
      removed.add(node);
      replaced.set(norm, joined);
    } else if (!isRead(norm.outputs.slice(1)) && !hasExchangeBetween(graph.nodes, from, to)) {
      removed.add(norm);
      replaced.set(node, joined);
    }
  }
  if (replaced.size === 0) return graph;
  const nodes = graph.nodes.filter((node) => !removed.has(node)).map((node) => replaced.get(node) ?? node);
  return { ...graph, nodes };
}
