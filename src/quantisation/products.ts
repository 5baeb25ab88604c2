/** The products of a graph that int8 can replace: an activation by a weight matrix. */
import { booleanAttr } from '../graph/attrs.js';
import type { Graph, Node, ValueId } from '../graph/graph.js';
import { inputOf } from '../graph/passes/view.js';
import { VIEWS } from '../graph/views.js';

export interface Product {
  readonly node: Node;
  /** Index into `graph.nodes`. */
  readonly index: number;
  /** The activation it reads, behind reshapes: what calibration observes. */
  readonly source: ValueId;
  /** Index of the weight into `graph.parameters`; the matrix is [inner, columns], or its transpose. */
  readonly weight: number;
  readonly transposed: boolean;
  readonly inner: number;
  readonly columns: number;
}

export function isView(node: Node): boolean {
  return VIEWS.has(node.kernel);
}

/** Who makes each value. */
export function producersOf(graph: Graph): ReadonlyMap<ValueId, Node> {
  return new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
}

/** The value itself, or what the reshapes that made it began with. */
export function behindViews(producers: ReadonlyMap<ValueId, Node>, value: ValueId): ValueId {
  const node = producers.get(value);
  return node !== undefined && isView(node) ? behindViews(producers, node.inputs[0] ?? -1) : value;
}

/** In the order of the graph. Products of float32 whose right operand is a two-dimensional parameter. */
export function findProducts(graph: Graph): Product[] {
  const producers = producersOf(graph);
  const parameterOf = new Map(graph.parameters.map(({ value }, index) => [value, index]));
  return graph.nodes.flatMap((node, index) => {
    if (node.kernel !== 'BatchMatMul' || booleanAttr(node.attrs, 'transposeA', false)) return [];
    const [a, b] = [inputOf(node, 'a'), inputOf(node, 'b')];
    const weight = parameterOf.get(b ?? -1);
    const matrix = graph.values[b ?? -1];
    if (a === undefined || weight === undefined || matrix?.shape.length !== 2 || matrix.dtype !== 'float32') return [];
    const transposed = booleanAttr(node.attrs, 'transposeB', false);
    const [rows = 0, columns = 0] = matrix.shape;
    const source = behindViews(producers, a);
    if (parameterOf.has(source)) return [];
    return [
      {
        node,
        index,
        source,
        weight,
        transposed,
        inner: transposed ? columns : rows,
        columns: transposed ? rows : columns,
      },
    ];
  });
}
