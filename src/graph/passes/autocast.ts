/** Mixed precision: large products in bfloat16 or float16, and what only they read stored so. Sums, norms, softmax, loss and weights stay float32. */
import { CONVOLUTIONS, nodeFlops, numElements } from '../cost.js';
import type { Graph, Node, Value, ValueId } from '../graph.js';
import { VIEWS } from '../views.js';
import { isNarrowProduct, joinProducts } from './joinProducts.js';
import { liveNodes } from './liveNodes.js';

/** The 16-bit floats that tensor cores multiply. */
export type NarrowPrecision = 'bf16' | 'f16';

/** Below so many multiplications a product is too small to gain from rounding its operands. */
const LEAST_PRODUCT = 32 ** 3;

/** Kernels that can leave outputs in 16 bits (positions of them); products in 16 bits can leave all of theirs. */
export const ROUNDS: Readonly<Record<string, readonly number[]>> = {
  MerakLayerNorm: [0],
  MerakGelu: [0],
  MerakGeluGrad: [0],
  MerakPackedAttention: [0],
  MerakPackedAttentionGrad: [0],
};
/** Inputs that kernels take in 16 bits. */
export const TAKES: Readonly<Record<string, readonly string[]>> = {
  MerakPackedAttention: ['qkv'],
  MerakPackedAttentionGrad: ['dy', 'out', 'qkv'],
  MerakGelu: ['x'],
  MerakGeluGrad: ['dy', 'x'],
  MerakLayerNormGrad: ['dy'],
};
const PRODUCT_TAKES: readonly string[] = ['a', 'b', 'point'];
/** What a value of each precision is stored as. */
export const STORED_AS = { bf16: 'bfloat16', f16: 'float16' } as const;

/**
 * Marks every BatchMatMul of two matrices with `precision`, joins to it what follows (joinProducts), and stores an activation
 * as bfloat16 (float16) when nothing but such products and kernels that take it so reads it. Convolutions are marked too, but keep tensors of
 * float32: cuDNN rounds operands and result, the CPU engine takes no note. `fixed` are values whose type others rely on: outputs, messages,
 * gradients.
 */
export function autocast(
  graph: Graph,
  numForwardNodes: number,
  fixed: ReadonlySet<ValueId>,
  precision: NarrowPrecision,
): Graph {
  const marked = graph.nodes.map((node) =>
    isLargeProduct(graph, node) || isLargeConvolution(graph, node)
      ? { ...node, attrs: { ...node.attrs, precision } }
      : node,
  );
  const relied = new Set([...fixed, ...[...graph.outputs, ...graph.updates].map(({ value }) => value)]);
  return storeNarrow(joinProducts({ ...graph, nodes: marked }, numForwardNodes, relied), relied, STORED_AS[precision]);
}

function storeNarrow(graph: Graph, fixed: ReadonlySet<ValueId>, storedAs: 'bfloat16' | 'float16'): Graph {
  const { nodes } = graph;
  const readers = new Map<ValueId, { node: Node; name: string }[]>();
  const live = liveNodes(graph, fixed);
  for (const node of nodes) {
    if (!live.has(node)) continue;
    node.inputs.forEach((input, i) => {
      const list = readers.get(input) ?? [];
      list.push({ node, name: node.inputNames[i] ?? '' });
      readers.set(input, list);
    });
  }
  const held = new Set([
    ...fixed,
    ...graph.inputs.map(({ value }) => value),
    ...graph.parameters.map(({ value }) => value),
    ...graph.constants.map(({ value }) => value),
    ...graph.outputs.map(({ value }) => value),
    ...graph.updates.map(({ value }) => value),
  ]);

  /** The value and its views, when all their readers take 16 bits; else undefined. */
  function storable(value: ValueId): ValueId[] | undefined {
    if (held.has(value)) return undefined;
    const all = [value];
    for (const { node, name } of readers.get(value) ?? []) {
      if (VIEWS.has(node.kernel)) {
        const views = storable(node.outputs[0] ?? -1);
        if (views === undefined) return undefined;
        all.push(...views);
      } else if (!takesNarrow(graph, node, name)) return undefined;
    }
    return all;
  }

  const stored = new Set<ValueId>();
  for (const node of nodes) {
    const isProduct = isNarrowProduct(node);
    node.outputs.forEach((output, position) => {
      const can = isProduct ? readers.has(output) : ROUNDS[node.kernel]?.includes(position) && isReadByProduct(output);
      if (can) for (const value of storable(output) ?? []) stored.add(value);
    });
  }
  function isReadByProduct(value: ValueId): boolean {
    return (readers.get(value) ?? []).some(
      ({ node }) => isNarrowProduct(node) || (VIEWS.has(node.kernel) && isReadByProduct(node.outputs[0] ?? -1)),
    );
  }

  const values = graph.values.map((value, id): Value => (stored.has(id) ? { ...value, storedAs } : value));
  return {
    ...graph,
    values,
    nodes: nodes.map((node) =>
      node.kernel === 'Sum' && stored.has(node.inputs[0] ?? -1)
        ? { ...node, kernel: 'MerakColumnSum', attrs: {} }
        : node,
    ),
  };
}

/** One product of two matrices after dropping batch dims, as the engine does (native/ops/cpu/matmul_plan.h). */
function isLargeProduct(graph: Graph, node: Node): boolean {
  if (node.kernel !== 'BatchMatMul' || node.inputs.length !== 2) return false;
  const [a = [], b = []] = node.inputs.map((input) => graph.values[input]?.shape);
  const batch = (shape: readonly number[]) => numElements(shape.slice(0, -2));
  if (batch(b) !== 1 || (node.attrs.transposeA === true && batch(a) !== 1)) return false;
  const inner = (node.attrs.transposeA === true ? a.at(-2) : a.at(-1)) ?? 1;
  return numElements(graph.values[node.outputs[0] ?? -1]?.shape ?? []) * inner >= LEAST_PRODUCT;
}

function isLargeConvolution(graph: Graph, node: Node): boolean {
  return CONVOLUTIONS.has(node.kernel) && nodeFlops(graph, node) >= 2 * LEAST_PRODUCT;
}

function takesNarrow(graph: Graph, node: Node, name: string): boolean {
  if (isNarrowProduct(node)) return PRODUCT_TAKES.includes(name);
  return TAKES[node.kernel]?.includes(name) || (node.kernel === 'Sum' && sumsRows(graph, node));
}

/** A sum over all dims but the last: a bias gradient. */
function sumsRows(graph: Graph, node: Node): boolean {
  const rank = graph.values[node.inputs[0] ?? -1]?.shape.length ?? 0;
  const axes = node.attrs.axis;
  const list = typeof axes === 'number' ? [axes] : Array.isArray(axes) ? axes.map(Number) : [];
  const summed = new Set(list.map((axis) => (axis + rank) % rank));
  return rank > 1 && summed.size === rank - 1 && !summed.has(rank - 1);
}
