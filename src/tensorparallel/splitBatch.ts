/** Splits a graph into sub-batches: the same model, every batch value in n pieces, so that pieces can take turns. */
import { MerakError } from '../errors.js';
import { type GraphBuilder, graphBuilder } from '../graph/builder.js';
import { eliminateDeadNodes } from '../graph/clean.js';
import type { Attrs, Graph, Node, ValueId } from '../graph/graph.js';
import { type CallLayouts, factorShardOf, layoutsOf } from './factors.js';
import { type Layout, REPLICATE } from './layout.js';
import type { Rule } from './rule.js';
import { ruleOfLocal } from './rules/collectives.js';
import { layoutKey, localShape, type ShardLayout, shard } from './shards.js';

/**
 * The graph with every batch value cut into `numSubBatches` pieces along the batch, found by the rules of the layouts: what
 * shards the batch over ranks shards it over turns. Inputs, parameters and outputs stay as they are. A sum or mean over
 * the batch becomes a sum over the pieces; a kernel that mixes samples in any other way runs once, on the whole.
 *
 * @throws MerakError 'config/batch' when a batch field does not divide into so many pieces.
 */
export function splitBatch(graph: Graph, numSubBatches: number): Graph {
  if (!Number.isInteger(numSubBatches) || numSubBatches < 1) {
    throw new MerakError('config/batch', 'the number of sub-batches is not valid', {
      path: 'subBatches',
      expected: 'a positive integer',
      received: String(numSubBatches),
    });
  }
  if (numSubBatches === 1) return graph;
  for (const { name, value } of graph.inputs) checkDivides(graph, name, value, numSubBatches);
  return new Splitter(graph, numSubBatches).run();
}

/** Whether a micro-batch divides into so many pieces. */
export function canSplitBatch(graph: Graph, numSubBatches: number): boolean {
  return graph.inputs.every(({ value }) => {
    const { shape, batchDim } = graph.values[value] ?? { shape: [], batchDim: -1 };
    return batchDim < 0 || (shape[batchDim] ?? 1) % numSubBatches === 0;
  });
}

function checkDivides(graph: Graph, name: string, value: ValueId, numSubBatches: number): void {
  const { shape, batchDim } = graph.values[value] ?? { shape: [], batchDim: -1 };
  const size = shape[batchDim] ?? 0;
  if (batchDim < 0 || size % numSubBatches === 0) return;
  throw new MerakError('config/batch', `a micro-batch does not divide into ${numSubBatches} sub-batches`, {
    path: name,
    expected: `a multiple of ${numSubBatches} samples`,
    received: String(size),
    hint: 'choose another number of sub-batches or of micro-batches',
  });
}

/** How a value of the old graph lives in the new one. */
interface Split {
  /** The layout over the pieces in which it is made; replicate: made once. */
  readonly native: Layout;
  whole?: ValueId;
  readonly pieces: Map<string, readonly ValueId[]>;
}

class Splitter {
  private readonly builder: GraphBuilder;
  private readonly splits: (Split | undefined)[] = [];

  constructor(
    private readonly graph: Graph,
    private readonly count: number,
  ) {
    // Values of the old graph keep their ids where they are still made whole; the pieces come after them.
    this.builder = graphBuilder({ ...graph, nodes: [], outputs: [], updates: [] });
    for (const { value } of [...graph.inputs, ...graph.parameters, ...graph.constants])
      this.rememberWhole(value, value);
  }

  run(): Graph {
    for (const node of this.graph.nodes) this.add(node);
    const outputs = this.graph.outputs.map(({ name, value }) => ({ name, value: this.whole(value) }));
    const updates = this.graph.updates.map(({ parameter, value }) => ({ parameter, value: this.whole(value) }));
    return eliminateDeadNodes({ ...this.builder.build(), nodes: this.nodes, outputs, updates });
  }

  private readonly nodes: Node[] = [];

  private add(node: Node): void {
    const rule = ruleOfLocal(this.graph, node);
    const taken = this.strategyOf(node, rule);
    if (taken === undefined) {
      this.nodes.push({ ...node, inputs: node.inputs.map((value) => this.whole(value, node)) });
      for (const output of node.outputs) this.rememberWhole(output, output);
      return;
    }
    const { call, factor } = taken;
    const pieces = node.inputs.map((value, i) => this.inputPieces(value, call.inputs[i] ?? REPLICATE, node));
    const results: ValueId[][] = node.outputs.map(() => []);
    let scale = 1;
    for (let index = 0; index < this.count; index++) {
      const local = this.localCall(node, rule, call, factor, index);
      scale = local.outputScale ?? 1;
      const outputs = node.outputs.map((output, i) => {
        const id = this.piece(output, call.outputs[i] ?? REPLICATE);
        results[i]?.push(id);
        return id;
      });
      const inputs = pieces.map((all) => all[index] ?? 0);
      const { kernel, inputNames, attrs } = local;
      this.nodes.push({ ...node, kernel, inputNames, attrs, inputs, outputs });
    }
    node.outputs.forEach((output, i) => {
      const layout = call.outputs[i] ?? REPLICATE;
      const made = results[i] ?? [];
      if (layout.kind === 'shard') {
        this.splits[output] = { native: layout, pieces: new Map([[layoutKey(layout), made]]) };
      } else this.rememberWhole(output, this.sum(output, made, scale, node));
    });
  }

  /** How the node can be run piece by piece, or undefined: on the whole. */
  private strategyOf(node: Node, rule: Rule): { call: CallLayouts; factor: number } | undefined {
    for (const [input, value] of node.inputs.entries()) {
      const layout = this.preferred(value);
      if (layout === undefined) continue;
      const found = factorShardOf(rule.inputs[input] ?? [], rule.factors, layout);
      if (found === undefined || rule.factors[found.factor]?.kind === 'meet') continue;
      const call = layoutsOf(rule, found, this.count);
      if (call === undefined) continue;
      const fits = node.inputs.every((one, i) => this.canTake(one, call.inputs[i] ?? REPLICATE));
      const adds = node.outputs.every(
        (output, i) => call.outputs[i]?.kind !== 'partial' || this.graph.values[output]?.dtype === 'float32',
      );
      if (fits && adds) return { call, factor: found.factor };
    }
    return undefined;
  }

  /** The pieces a value comes in, or should be cut into. */
  private preferred(value: ValueId): ShardLayout | undefined {
    const native = this.splits[value]?.native;
    if (native?.kind === 'shard') return native;
    const { shape, batchDim } = this.graph.values[value] ?? { shape: [], batchDim: -1 };
    const size = shape[batchDim] ?? 0;
    return batchDim >= 0 && size > 0 && size % this.count === 0 ? shard(batchDim, size) : undefined;
  }

  private canTake(value: ValueId, layout: Layout): boolean {
    const native = this.splits[value]?.native ?? REPLICATE;
    if (layout.kind === 'shard')
      return layoutKey(native) === layoutKey(layout) || (native.kind === 'replicate' && layout.parts === 1);
    return native.kind === 'replicate';
  }

  private inputPieces(value: ValueId, layout: Layout, reader: Node): readonly ValueId[] {
    if (layout.kind !== 'shard') {
      const whole = this.whole(value, reader);
      return Array.from({ length: this.count }, () => whole);
    }
    const split = this.splitOf(value);
    const known = split.pieces.get(layoutKey(layout));
    if (known !== undefined) return known;
    const size = layout.paddedSize / this.count;
    const outputs = Array.from({ length: this.count }, () => this.piece(value, layout));
    const attrs = { numOrSizeSplits: outputs.map(() => size), axis: layout.dim };
    this.call('SplitV', [this.whole(value, reader)], ['x'], outputs, attrs, reader);
    split.pieces.set(layoutKey(layout), outputs);
    return outputs;
  }

  /** The value in one piece: made so, or put together. */
  private whole(value: ValueId, reader?: Node): ValueId {
    const split = this.splitOf(value);
    if (split.whole !== undefined) return split.whole;
    if (split.native.kind !== 'shard') throw new MerakError('plan/invalid', `value ${value} is read before it is made`);
    const { dim, parts } = split.native;
    const { shape, dtype, batchDim } = this.builder.value(value);
    const made = split.pieces.get(layoutKey(split.native)) ?? [];
    const place = reader ?? { scope: '' };
    const seen = (size: number): number[] => [...shape.slice(0, dim), parts, size / parts, ...shape.slice(dim + 1)];
    const reshape = (from: ValueId, to: readonly number[], output?: ValueId): ValueId => {
      const id = output ?? this.builder.addValue({ shape: to, dtype });
      this.call('Reshape', [from], ['x'], [id], { shape: [...to] }, place);
      return id;
    };
    const size = shape[dim] ?? 0;
    const apart = parts === 1 ? made : made.map((piece) => reshape(piece, seen(size / this.count)));
    const joined = parts === 1 ? value : this.builder.addValue({ shape: seen(size), dtype, batchDim });
    const axis = parts === 1 ? dim : dim + 1;
    this.call(
      'Concat',
      apart,
      apart.map((_, i) => String(i)),
      [joined],
      { axis },
      place,
    );
    split.whole = parts === 1 ? joined : reshape(joined, shape, value);
    return split.whole;
  }

  /** The sum of the pieces' terms, under the old value's id. */
  private sum(value: ValueId, terms: readonly ValueId[], scale: number, node: Node): ValueId {
    const { shape, dtype } = this.builder.value(value);
    const total = scale === 1 ? value : this.builder.addValue({ shape, dtype });
    let sum = terms[0] ?? value;
    terms.slice(1).forEach((term, i) => {
      const output = i === terms.length - 2 ? total : this.builder.addValue({ shape, dtype });
      this.call('Add', [sum, term], ['a', 'b'], [output], {}, node);
      sum = output;
    });
    if (scale === 1) return sum;
    const factor = this.builder.addConstant({ shape: [], dtype: 'float32' }, Float32Array.of(scale));
    this.call('Multiply', [sum, factor], ['a', 'b'], [value], {}, node);
    return value;
  }

  private localCall(node: Node, rule: Rule, call: CallLayouts, factor: number, index: number) {
    if (rule.localise === undefined) return { kernel: node.kernel, inputNames: node.inputNames, attrs: node.attrs };
    const shapeOf = (value: ValueId): readonly number[] => this.graph.values[value]?.shape ?? [];
    const inputShapes = node.inputs.map(shapeOf);
    const outputShapes = node.outputs.map(shapeOf);
    const local = (shapes: readonly (readonly number[])[], layouts: readonly Layout[]) =>
      shapes.map((shape, i) => localShape(layouts[i] ?? REPLICATE, shape, this.count));
    return rule.localise({
      node,
      degree: this.count,
      index,
      factor,
      inputShapes,
      outputShapes,
      localInputShapes: local(inputShapes, call.inputs),
      localOutputShapes: local(outputShapes, call.outputs),
      inputLayouts: call.inputs,
      outputLayouts: call.outputs,
    });
  }

  private piece(value: ValueId, layout: Layout): ValueId {
    const { shape, dtype, batchDim } = this.builder.value(value);
    return this.builder.addValue({ shape: localShape(layout, shape, this.count), dtype, batchDim });
  }

  private call(
    kernel: string,
    inputs: readonly ValueId[],
    inputNames: readonly string[],
    outputs: readonly ValueId[],
    attrs: Attrs,
    place: { readonly scope: string; readonly source?: string },
  ): void {
    const { scope, source } = place;
    this.nodes.push({
      kernel,
      inputs,
      inputNames,
      outputs,
      attrs,
      scope,
      ...(source === undefined ? {} : { source }),
    });
  }

  private splitOf(value: ValueId): Split {
    const split = this.splits[value];
    if (split === undefined) throw new MerakError('plan/invalid', `value ${value} is read before it is made`);
    return split;
  }

  private rememberWhole(value: ValueId, whole: ValueId): void {
    this.splits[value] = { native: REPLICATE, whole, pieces: new Map() };
  }
}
