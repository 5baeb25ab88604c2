/** The graph pass: chosen products become int8 ones, with int8 between a product and the product it feeds. */
import { dropUnusedParameters, eliminateDeadNodes } from '../graph/clean.js';
import type { Graph, GraphParameter, Node, Value, ValueId } from '../graph/graph.js';
import { sizeOf } from '../graph/passes/view.js';
import { behindViews, isView, type Product, producersOf } from './products.js';
import { type Granularity, quantiseMatrix } from './weights.js';

export interface QuantiseRequest {
  /** Products of this very graph. */
  readonly products: readonly Product[];
  /** The magnitude that 127 stands for, by `Product.source`. */
  readonly amax: ReadonlyMap<ValueId, number>;
  /** A float32 parameter's data, by index. */
  readonly weight: (parameter: number) => ArrayLike<number>;
  readonly granularity: Granularity;
}

export interface QuantisedGraph {
  readonly graph: Graph;
  /** Data of the parameters that the graph gained, by name; the others are the old graph's, by name. */
  readonly added: ReadonlyMap<string, Int8Array | Float32Array>;
}

const LEVELS = 127;

/** A product with what follows it: absorbed nodes, in order, up to `last`, whose output takes the result. */
interface Chain {
  readonly product: Product;
  readonly absorbed: readonly Node[];
  readonly bias: ValueId | undefined;
  readonly activation: string;
  readonly result: ValueId;
}

/**
 * A product takes its bias, and a relu or gelu behind it, along; where nothing but quantised products reads the result, it is made
 * in int8 at once, and no float32 form of it exists. Elsewhere one MerakQuantise serves all products that read an activation.
 * Weights that nothing reads in float32 any more are dropped.
 */
export function quantiseGraph(graph: Graph, request: QuantiseRequest): QuantisedGraph {
  const producers = producersOf(graph);
  const readers = readersOf(graph);
  const chosen = new Map(request.products.map((product) => [product.node, product]));
  const isOutput = new Set([...graph.outputs, ...graph.updates].map(({ value }) => value));
  const fixed = new Set([...graph.parameters, ...graph.constants].map(({ value }) => behindViews(producers, value)));
  const scaleOf = (source: ValueId): number => Math.fround((request.amax.get(source) ?? 1) / LEVELS);

  /** Whether quantised products alone read the value, through reshapes or not. */
  const feedsProductsOnly = (value: ValueId): boolean => {
    const all = readers.get(value) ?? [];
    if (isOutput.has(value) || all.length === 0) return false;
    return all.every((reader) => {
      if (isView(reader)) return feedsProductsOnly(reader.outputs[0] ?? -1);
      return chosen.has(reader) && reader.inputs.indexOf(value) === 0;
    });
  };

  function chainOf(product: Product): Chain {
    const absorbed: Node[] = [];
    const pending: Node[] = [];
    let [bias, activation]: [ValueId | undefined, string] = [undefined, 'linear'];
    let value = product.node.outputs[0] ?? -1;
    let result = value;
    for (;;) {
      const [reader, ...others] = readers.get(value) ?? [];
      if (reader === undefined || others.length > 0 || isOutput.has(value)) break;
      const next = reader.outputs[0] ?? -1;
      if (graph.values[next]?.shape.at(-1) !== product.columns) break;
      if (isView(reader)) {
        pending.push(reader);
      } else {
        const other: ValueId | undefined =
          reader.kernel === 'Add' && bias === undefined && activation === 'linear' ? biasOf(reader, value) : undefined;
        const applied = activation === 'linear' ? activationOf(reader) : undefined;
        if (other !== undefined) bias = other;
        else if (applied !== undefined) activation = applied;
        else break;
        absorbed.push(...pending.splice(0), reader);
        result = next;
      }
      value = next;
    }
    return { product, absorbed, bias, activation, result };

    function biasOf(sum: Node, taken: ValueId): ValueId | undefined {
      const other = sum.inputs.find((input) => input !== taken);
      if (other === undefined || !fixed.has(behindViews(producers, other))) return undefined;
      const { shape, dtype } = graph.values[other] ?? { shape: [], dtype: 'bool' };
      return dtype === 'float32' && shape.at(-1) === product.columns && sizeOf(shape) === product.columns
        ? other
        : undefined;
    }
  }

  const chains = request.products.map(chainOf);
  const endsAt = new Map(chains.map((chain) => [chain.absorbed.at(-1) ?? chain.product.node, chain]));
  const gone = new Set(chains.flatMap(({ product, absorbed }) => [product.node, ...absorbed]));

  const values: Value[] = [...graph.values];
  const parameters: GraphParameter[] = [...graph.parameters];
  const added = new Map<string, Int8Array | Float32Array>();
  const nodes: Node[] = [];
  const int8Of = new Map<ValueId, ValueId>();
  const matrixOf = new Map<string, { value: ValueId; scales: Float32Array }>();

  const addValue = (value: Value): ValueId => values.push(value) - 1;
  const addParameter = (name: string, value: Value, data: Int8Array | Float32Array): ValueId => {
    const id = addValue(value);
    parameters.push({ name, value: id, trainable: false });
    added.set(name, data);
    return id;
  };
  const int8Like = ({ shape, batchDim }: Value): Value => ({ shape, dtype: 'int32', storedAs: 'int8', batchDim });
  const valueAt = (id: ValueId): Value => values[id] as Value;

  /** What the product reads, in int8 and in the shape it reads it in. */
  function operand({ node, source }: Product): ValueId {
    let whole = int8Of.get(source);
    if (whole === undefined) {
      whole = addValue(int8Like(valueAt(source)));
      const attrs = { scale: scaleOf(source) };
      nodes.push({
        kernel: 'MerakQuantise',
        inputs: [source],
        inputNames: ['x'],
        outputs: [whole],
        attrs,
        scope: node.scope,
      });
      int8Of.set(source, whole);
    }
    const wanted = valueAt(node.inputs[0] ?? -1);
    if (valueAt(whole).shape.join() === wanted.shape.join()) return whole;
    return reshape(whole, int8Like(wanted), node.scope);
  }

  function reshape(from: ValueId, to: Value, scope: string, output = addValue(to)): ValueId {
    const attrs = { shape: to.shape };
    nodes.push({ kernel: 'Reshape', inputs: [from], inputNames: ['x'], outputs: [output], attrs, scope });
    return output;
  }

  function matrix(product: Product): { value: ValueId; scales: Float32Array } {
    const { weight, transposed, inner, columns } = product;
    const name = `${parameters[weight]?.name}${transposed ? '.transposed' : ''}.int8`;
    const known = matrixOf.get(name);
    if (known !== undefined) return known;
    const { data, scales } = quantiseMatrix(request.weight(weight), product, request.granularity);
    const value = addParameter(name, { shape: [inner, columns], dtype: 'int32', storedAs: 'int8', batchDim: -1 }, data);
    const made = { value, scales };
    matrixOf.set(name, made);
    return made;
  }

  function emit({ product, bias, activation, result }: Chain, index: number): void {
    const { node, source, columns } = product;
    const a = operand(product);
    const { value: b, scales: steps } = matrix(product);
    const scale = scaleOf(source);
    const row = { shape: [columns], dtype: 'float32', batchDim: -1 } as const;
    const scales = addParameter(
      `${parameters[product.weight]?.name}.scales${index}`,
      row,
      steps.map((step) => step * scale),
    );
    const narrow = feedsProductsOnly(result);
    const target = narrow ? int8Like(valueAt(result)) : valueAt(result);
    const made = valueAt(node.outputs[0] ?? -1);
    const direct = made.shape.join() === target.shape.join();
    const output = direct ? result : addValue(narrow ? int8Like(made) : made);
    nodes.push({
      kernel: 'MerakQuantisedMatMul',
      inputs: [a, b, scales, ...(bias === undefined ? [] : [bias])],
      inputNames: ['a', 'b', 'scales', ...(bias === undefined ? [] : ['bias'])],
      outputs: [output],
      attrs: {
        ...(activation === 'linear' ? {} : { activation }),
        ...(narrow ? { outputScale: scaleOf(result) } : {}),
      },
      scope: node.scope,
    });
    if (!direct) reshape(output, target, node.scope, result);
    if (narrow) {
      values[result] = target;
      int8Of.set(result, result);
    }
  }

  for (const node of graph.nodes) {
    const chain = endsAt.get(node);
    if (chain !== undefined) emit(chain, chains.indexOf(chain));
    else if (!gone.has(node)) nodes.push(node);
  }
  // Reshapes that only carried a value to a product are dead now: they must go before anybody sees their old dtype.
  const whole = eliminateDeadNodes({ ...graph, values, nodes, parameters });
  return { graph: dropUnusedParameters(whole).graph, added };
}

function readersOf(graph: Graph): ReadonlyMap<ValueId, Node[]> {
  const readers = new Map<ValueId, Node[]>();
  for (const node of graph.nodes)
    for (const input of new Set(node.inputs)) {
      const known = readers.get(input);
      if (known === undefined) readers.set(input, [node]);
      else known.push(node);
    }
  return readers;
}

/** The name MerakQuantisedMatMul has for what the node computes. */
function activationOf(node: Node): string | undefined {
  if (node.kernel === 'Relu') return 'relu';
  return node.kernel === 'MerakGelu' ? `gelu_${String(node.attrs.approximate)}` : undefined;
}
