/** What follows a product in bfloat16 or float16 becomes part of it: bias, residual, gelu and gelu's gradient never travel through memory alone. */
import { CONVOLUTIONS } from '../cost.js';
import type { Graph, Node, ValueId } from '../graph.js';
import { VIEWS } from '../views.js';
import { hasExchangeBetween } from './exchanges.js';
import { liveNodes } from './liveNodes.js';
import { inputOf, sameShape, sizeOf } from './view.js';

/** What a product ends in so far. */
interface Ending {
  readonly value: ValueId;
  /** Index of the last node taken in. */
  readonly at: number;
}

interface Joined {
  readonly node: Node;
  /** Nodes whose outputs the joined node now makes. */
  readonly replaces: readonly number[];
}

/**
 * Products marked `precision: 'bf16'` or `'f16'` become MerakProduct where the next and only readers of their result add a bias row, add a
 * residual of the same size, apply gelu, or multiply by gelu's slope. The joined node stands where the last of them stood. The first
 * `numForwardNodes` nodes keep their number: the others are left dead for whoever lowers the graph. `fixed` values keep their nodes.
 */
export function joinProducts(graph: Graph, numForwardNodes: number, fixed: ReadonlySet<ValueId>): Graph {
  const { nodes } = graph;
  const readers = new Map<ValueId, number[]>();
  const live = liveNodes(graph, fixed);
  nodes.forEach((node, index) => {
    if (!live.has(node)) return;
    for (const input of node.inputs) readers.set(input, [...(readers.get(input) ?? []), index]);
  });
  const shape = (value: ValueId) => graph.values[value]?.shape ?? [];
  const isForward = (index: number) => index < numForwardNodes;

  /** The one reader of what `from` ends in, behind views, on the same side of the derivative; undefined when there are others. */
  function next(from: Ending): { node: Node; at: number; value: ValueId } | undefined {
    let { value } = from;
    for (;;) {
      const [at, ...others] = readers.get(value) ?? [];
      const node = nodes[at ?? -1];
      if (at === undefined || node === undefined || others.length > 0 || fixed.has(value)) return undefined;
      if (isForward(at) !== isForward(from.at)) return undefined;
      if (!VIEWS.has(node.kernel)) return { node, at, value };
      value = node.outputs[0] ?? -1;
    }
  }

  /** The other operand of an addition that reads `value`. */
  function addend(node: Node, value: ValueId): ValueId | undefined {
    if (node.kernel !== 'Add' || node.inputs.length !== 2) return undefined;
    const other = node.inputs[0] === value ? node.inputs[1] : node.inputs[0];
    return other === value || graph.values[other ?? -1]?.dtype !== 'float32' ? undefined : other;
  }

  function join(product: Node, index: number): Joined | undefined {
    const names = [...product.inputNames];
    const inputs = [...product.inputs];
    const columns = shape(product.outputs[0] ?? -1).at(-1) ?? 0;
    let end: Ending = { value: product.outputs[0] ?? -1, at: index };
    const take = (name: string, value: ValueId, to: Ending): void => {
      names.push(name);
      inputs.push(value);
      end = to;
    };
    const follow = (): void => {
      const reader = next(end);
      if (reader === undefined) return;
      const other = addend(reader.node, reader.value);
      const to = { value: reader.node.outputs[0] ?? -1, at: reader.at };
      if (other === undefined || !sameShape(shape(to.value), shape(reader.value))) return;
      const isBias = shape(other).length === 1 && shape(other)[0] === columns && shape(reader.value).at(-1) === columns;
      const isResidual = sameShape(shape(other), shape(reader.value)) && shape(other).length > 1;
      if (isBias && names.length === 2) take('bias', other, to);
      else if (isResidual && !names.includes('residual')) take('residual', other, to);
      else return;
      follow();
    };
    follow();
    const made = (node: Node, at: number, rest: Partial<Node>, replaces: readonly number[]): Joined => ({
      node: { ...product, kernel: 'MerakProduct', inputs, inputNames: names, outputs: node.outputs, ...rest },
      replaces: [...replaces, at],
    });

    const reader = next(end);
    if (reader?.node.kernel === 'MerakGeluGrad' && inputOf(reader.node, 'dy') === reader.value) {
      take('point', inputOf(reader.node, 'x') ?? -1, end);
      const attrs = { ...product.attrs, gelu: reader.node.attrs.approximate ?? '' };
      return made(reader.node, reader.at, { attrs: withShape(attrs, shape(reader.node.outputs[0] ?? -1)) }, []);
    }
    const last = nodes[end.at];
    if (last === undefined) return undefined;
    const gelu = geluOf(end);
    if (gelu !== undefined) {
      const attrs = { ...product.attrs, gelu: gelu.node.attrs.approximate ?? '' };
      return made(
        last,
        end.at,
        {
          outputs: [end.value, ...gelu.node.outputs],
          attrs: { ...withShape(attrs, shape(end.value)), activatedShape: [...shape(gelu.node.outputs[0] ?? -1)] },
        },
        [gelu.at],
      );
    }
    if (end.at === index) return undefined;
    return made(last, end.at, { attrs: withShape(product.attrs, shape(end.value)) }, []);
  }

  /** The gelu of what a product ends in, behind views: others may read that too. */
  function geluOf(end: Ending): { node: Node; at: number } | undefined {
    const found: { node: Node; at: number }[] = [];
    const search = (value: ValueId): void => {
      for (const at of readers.get(value) ?? []) {
        const node = nodes[at];
        if (node === undefined || isForward(at) !== isForward(end.at)) continue;
        if (VIEWS.has(node.kernel)) search(node.outputs[0] ?? -1);
        else if (node.kernel === 'MerakGelu' && sizeOf(shape(value)) === sizeOf(shape(end.value)))
          found.push({ node, at });
      }
    };
    search(end.value);
    return found.length === 1 ? found[0] : undefined;
  }

  const joined = new Map<number, Joined>();
  nodes.forEach((node, index) => {
    if (node.kernel !== 'BatchMatMul' || !isNarrowProduct(node)) return;
    const found = join(node, index);
    if (found === undefined || found.replaces.some((at) => joined.has(at))) return;
    if (hasExchangeBetween(nodes, index, found.replaces.at(-1) ?? index)) return;
    for (const at of found.replaces) joined.set(at, found);
  });
  if (joined.size === 0) return graph;

  const values = [...graph.values];
  const place = (found: Joined): number => found.replaces.at(-1) ?? -1;
  return {
    ...graph,
    nodes: nodes.flatMap((node, index): Node[] => {
      const found = joined.get(index);
      if (found === undefined) return [node];
      if (place(found) === index) return [found.node];
      if (!isForward(index)) return [];
      // A forward node whose output is made elsewhere now: it keeps its place, and nothing reads it.
      return [{ ...node, outputs: node.outputs.map((id) => values.push(values[id] as (typeof values)[number]) - 1) }];
    }),
    values,
  };
}

/** Whether autocast has marked the node as a product of operands of 16 bits. */
export function isNarrowProduct({ kernel, attrs }: Node): boolean {
  return (attrs.precision === 'bf16' || attrs.precision === 'f16') && !CONVOLUTIONS.has(kernel);
}

/** The kernel's results have this shape, whatever views lay between the product and them. */
function withShape(attrs: Node['attrs'], outputShape: readonly number[]): Node['attrs'] {
  return { ...attrs, outputShape: [...outputShape] };
}
