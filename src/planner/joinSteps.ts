/** The weight gradient of an unrolled recurrence: one product over all its time steps, where each alone would be too thin. */
import type { Derivative } from '../autodiff/derivative.js';
import type { Graph, Node, Value, ValueId } from '../graph/graph.js';
import { liveNodes } from '../graph/passes/liveNodes.js';
import { gradientTerms } from '../plan/gradientTerms.js';

/** Products that sum over no more rows read and write their result for little: they are as thin as that. */
const MOST_ROWS = 64;
/** For fewer, putting their operands side by side brings nothing. */
const FEWEST_PRODUCTS = 4;

/**
 * Where a parameter's gradient is a sum that holds products a_i^T b_i of few rows each, they become the one product
 * concat(a)^T concat(b), at the place of the sum. The b_i then live until there: as much memory as one backward pass of the cell
 * makes over all steps.
 */
export function joinSteps(derivative: Derivative): Derivative {
  const { graph, numForwardNodes } = derivative;
  const terms = gradientTerms(derivative);
  const makers = new Map(
    graph.nodes.slice(numForwardNodes).flatMap((node) => node.outputs.map((value): [ValueId, Node] => [value, node])),
  );
  const values = [...graph.values];
  const added = new Map<Node, Node[]>();
  const parameterGradients = derivative.parameterGradients.map((gradient, index) => {
    const root = gradient === null ? undefined : makers.get(gradient);
    const products = (terms[index] ?? []).filter((term) => isThinProduct(makers.get(term), graph));
    if (gradient === null || root === undefined || products.length < FEWEST_PRODUCTS) return gradient;
    const others = terms[index]!.filter((term) => !products.includes(term));
    const nodes: Node[] = [];
    const make = (node: Omit<Node, 'outputs' | 'scope' | 'source'>, shape: readonly number[]): ValueId => {
      const value: Value = { shape, dtype: 'float32', batchDim: -1 };
      const output = values.push(value) - 1;
      const { scope, source } = makers.get(products[0]!)!;
      nodes.push({ ...node, outputs: [output], scope, ...(source === undefined ? {} : { source }) });
      return output;
    };
    const sideBySide = (position: number): ValueId => {
      const parts = products.map((term) => makers.get(term)!.inputs[position]!);
      const rows = parts.reduce((sum, part) => sum + graph.values[part]!.shape[0]!, 0);
      const inputNames = parts.map((_, part) => String(part));
      return make({ kernel: 'Concat', inputs: parts, inputNames, attrs: { axis: 0 } }, [
        rows,
        graph.values[parts[0]!]!.shape[1]!,
      ]);
    };
    const { kernel, inputNames, attrs } = makers.get(products[0]!)!;
    const { shape } = graph.values[gradient]!;
    const product = make({ kernel, inputs: [sideBySide(0), sideBySide(1)], inputNames, attrs }, shape);
    const sum = others.reduce(
      (left, right) => make({ kernel: 'Add', inputs: [left, right], inputNames: ['a', 'b'], attrs: {} }, shape),
      product,
    );
    added.set(root, nodes);
    return sum;
  });
  if (added.size === 0) return derivative;
  const forward = graph.nodes.slice(0, numForwardNodes);
  const backward = graph.nodes.slice(numForwardNodes).flatMap((node) => [node, ...(added.get(node) ?? [])]);
  const roots = [...parameterGradients, ...derivative.receivedGradients].filter((value) => value !== null);
  const live = liveNodes({ ...graph, nodes: backward }, roots);
  const nodes = [...forward, ...backward.filter((node) => live.has(node))];
  return { ...derivative, graph: { ...graph, values, nodes }, parameterGradients };
}

function isThinProduct(node: Node | undefined, graph: Graph): boolean {
  if (node?.kernel !== 'BatchMatMul' || node.inputs.length !== 2) return false;
  const shapes = node.inputs.map((value) => graph.values[value]!.shape);
  const { transposeA, transposeB } = node.attrs;
  return (
    transposeA === true && transposeB !== true && shapes.every((shape) => shape.length === 2 && shape[0]! <= MOST_ROWS)
  );
}
