/** Looking a graph up backwards: who makes a value, who uses it, what a constant holds. */
import type { Graph, GraphConstant, Node, Value, ValueId } from '../graph.js';

export interface GraphView {
  readonly graph: Graph;
  value(id: ValueId): Value;
  /** The node that makes a value, when it is of one of `kernels` (any, when none is given). */
  producer(id: ValueId, ...kernels: string[]): Node | undefined;
  /** How many node inputs, graph outputs and updates read a value. */
  numUses(id: ValueId): number;
  constant(id: ValueId): GraphConstant['data'] | undefined;
}

export function viewGraph(graph: Graph): GraphView {
  const producers = new Map<ValueId, Node>();
  const uses = new Map<ValueId, number>();
  const use = (id: ValueId): void => {
    uses.set(id, (uses.get(id) ?? 0) + 1);
  };
  for (const node of graph.nodes) {
    for (const id of node.outputs) producers.set(id, node);
    node.inputs.forEach(use);
  }
  for (const { value } of [...graph.outputs, ...graph.updates]) use(value);
  const constants = new Map(graph.constants.map(({ value, data }) => [value, data]));
  return {
    graph,
    value: (id) => graph.values[id]!,
    producer(id, ...kernels) {
      const node = producers.get(id);
      return node !== undefined && (kernels.length === 0 || kernels.includes(node.kernel)) ? node : undefined;
    },
    numUses: (id) => uses.get(id) ?? 0,
    constant: (id) => constants.get(id),
  };
}

/** The value a node takes under a tfjs input name. */
export function inputOf(node: Node, name: string): ValueId | undefined {
  const index = node.inputNames.indexOf(name);
  return index < 0 ? undefined : node.inputs[index];
}

/** Both orders of a binary node's operands 'a' and 'b', for matching commutative ops. */
export function eitherOrder(node: Node): readonly (readonly [ValueId, ValueId])[] {
  const [a, b] = [inputOf(node, 'a')!, inputOf(node, 'b')!];
  return [
    [a, b],
    [b, a],
  ];
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, dim) => size * dim, 1);
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, index) => dim === b[index]);
}

/** The single reduction axis of a Sum, Mean or Max node when it is its input's last dim, else undefined. */
export function reducesLastDim(view: GraphView, node: Node): boolean {
  const rank = view.value(node.inputs[0]!).shape.length;
  const axis = node.attrs.axis ?? node.attrs.reductionIndices;
  const axes = Array.isArray(axis) ? axis : [axis];
  return axes.length === 1 && (axes[0] === rank - 1 || axes[0] === -1);
}
