/** Finding the layers of a transformer in its graph by what feeds what, whatever the model calls them. */
import type { Graph, Node, ValueId } from '../graph/graph.js';
import { findProducts, isView, type Product, producersOf } from './products.js';

/** One layer's products with weights, in the order of the graph. */
export interface Layer {
  /** Projections to queries, keys and values, and the projection of what attention gives. */
  readonly attention: readonly Product[];
  readonly feedForward: readonly Product[];
}

const ATTENTION: ReadonlySet<string> = new Set(['MerakAttention', 'MerakPackedAttention']);

/** What a walk back from a product's input goes through: elementwise functions, and moves of elements. */
const TRANSPARENT: ReadonlySet<string> = new Set([
  ...['Add', 'Sub', 'Multiply', 'RealDiv', 'Maximum', 'Minimum', 'Select', 'Neg', 'Square', 'Sqrt', 'Pow', 'Erf'],
  ...['Relu', 'Relu6', 'LeakyRelu', 'Elu', 'Selu', 'Sigmoid', 'Tanh', 'Softplus', 'MerakGelu', 'MerakDropout'],
  ...['Reshape', 'Identity', 'ExpandDims', 'Transpose', 'Slice', 'StridedSlice', 'SplitV', 'Concat', 'Pack', 'Unpack'],
  ...['Cast', 'Softmax', 'GatherV2', 'Tile', 'PadV2', 'Reverse'],
]);

interface Walk {
  /** Products that a path back ends at. */
  readonly found: Set<Product>;
  /** Whether a path goes through attention's own products. */
  attends: boolean;
  /** Whether a path ends elsewhere: at a norm, an embedding, an input. */
  leaves: boolean;
  /** Whether a path goes through the sum of two activations. */
  joins: boolean;
}

interface Group {
  readonly kind: keyof Layer;
  readonly products: readonly Product[];
}

/**
 * An attention group is a product that reads what attention makes, with the products that attention reads. A feed-forward group
 * is a product whose result is added to a residual stream and that reads functions of other products only, with these. A layer
 * is the attention groups (two in a decoder) that follow each other and the feed-forward groups up to the next attention. In a
 * graph without such groups every product but the last is a layer of its own, a feed-forward one.
 */
export function findLayers(graph: Graph): Layer[] {
  const products = findProducts(graph);
  const groups = findGroups(graph, products);
  if (groups.length === 0) return products.slice(0, -1).map((product) => ({ attention: [], feedForward: [product] }));
  const layers: { attention: Product[]; feedForward: Product[] }[] = [];
  let last: Group | undefined;
  for (const group of groups) {
    if (last?.kind !== 'attention') layers.push({ attention: [], feedForward: [] });
    layers.at(-1)?.[group.kind].push(...group.products);
    last = group;
  }
  return layers;
}

function findGroups(graph: Graph, products: readonly Product[]): Group[] {
  const producers = producersOf(graph);
  const productAt = new Map(products.map((product) => [product.node, product]));
  const fixed = new Set([...graph.parameters, ...graph.constants].map(({ value }) => value));
  for (const node of graph.nodes) if (isView(node) && fixed.has(node.inputs[0] ?? -1)) fixed.add(node.outputs[0] ?? -1);
  const taken = new Set<Product>();
  const groups: Group[] = [];
  for (const product of products) {
    const walk: Walk = { found: new Set(), attends: false, leaves: false, joins: false };
    walkBack(product.source, walk, { producers, productAt, fixed, seen: new Set() });
    const members = [...walk.found].filter((found) => !taken.has(found));
    if (members.length === 0 || taken.has(product)) continue;
    const isFeedForward = !walk.attends && !walk.leaves && !walk.joins && addsToStream(graph, product, fixed);
    if (!walk.attends && !isFeedForward) continue;
    const all = [...members, product].sort((a, b) => a.index - b.index);
    for (const member of all) taken.add(member);
    groups.push({ kind: walk.attends ? 'attention' : 'feedForward', products: all });
  }
  return groups.sort((a, b) => (a.products[0]?.index ?? 0) - (b.products[0]?.index ?? 0));
}

interface Surroundings {
  readonly producers: ReadonlyMap<ValueId, Node>;
  readonly productAt: ReadonlyMap<Node, Product>;
  readonly fixed: ReadonlySet<ValueId>;
  readonly seen: Set<ValueId>;
}

function walkBack(value: ValueId, walk: Walk, around: Surroundings): void {
  if (around.seen.has(value) || around.fixed.has(value)) return;
  around.seen.add(value);
  const node = around.producers.get(value);
  const product = node && around.productAt.get(node);
  if (product !== undefined) {
    walk.found.add(product);
    return;
  }
  const attends = node !== undefined && (ATTENTION.has(node.kernel) || node.kernel === 'BatchMatMul');
  if (node === undefined || !(attends || TRANSPARENT.has(node.kernel))) {
    walk.leaves = true;
    return;
  }
  walk.attends ||= attends;
  walk.joins ||= node.kernel === 'Add' && node.inputs.every((input) => !around.fixed.has(input));
  for (const input of node.inputs) walkBack(input, walk, around);
}

/** Whether the product, after its bias, dropout and reshapes, is added to another activation. */
function addsToStream(graph: Graph, product: Product, fixed: ReadonlySet<ValueId>): boolean {
  let value = product.node.outputs[0] ?? -1;
  for (;;) {
    const readers = graph.nodes.filter((node) => node.inputs.includes(value));
    const [reader] = readers;
    if (readers.length !== 1 || reader === undefined) return false;
    const isSum = reader.kernel === 'Add';
    if (isSum && reader.inputs.every((input) => !fixed.has(input))) return true;
    if (!isSum && !isView(reader) && reader.kernel !== 'MerakDropout') return false;
    value = reader.outputs[0] ?? -1;
  }
}
