/** The graph as one rank of the tensor axis runs it: local shapes, rewritten attributes, collectives as nodes. */
import { MerakError } from '../errors.js';
import type { Attrs, Graph, GraphConstant, Node, Value, ValueId } from '../graph/graph.js';
import type { Assignment } from './assignment.js';
import { checkLayouts } from './check.js';
import { valuesWithGradient } from './gradients.js';
import { type Layout, REPLICATE } from './layout.js';
import type { LocalCall, Rule } from './rule.js';
import { ruleOf } from './rules/registry.js';
import { layoutKey, localShape, sameLayout, sliceParameter } from './shards.js';
import { matchStrategy } from './strategies.js';

/** The mesh axis all collectives made here act on. */
const AXIS = 'tp';

/**
 * The graph of rank `index` of `degree`. Node i and value i of every rank's graph correspond; only attributes and
 * constants differ. Batch fields and outputs are whole; parameters keep their order and names and have local shapes.
 *
 * Gradients come out full on every rank without further care: a replicated value's gradient is full wherever ranks
 * compute the same thing, and passes one MerakFanOut (whose gradient sums) into everything they compute differently.
 *
 * Raises layout/illegal when the assignment does not check.
 */
export function localise(graph: Graph, assignment: Assignment, degree: number, index: number): Graph {
  if (degree !== assignment.degree || index < 0 || index >= degree) {
    throw new MerakError('layout/illegal', 'no such rank in this assignment', {
      expected: `degree ${assignment.degree} and an index below it`,
      received: `degree ${degree}, index ${index}`,
    });
  }
  checkLayouts(graph, assignment);
  return new Localiser(graph, assignment, index).run();
}

class Localiser {
  private readonly values: Value[] = [];
  private readonly nodes: Node[] = [];
  private readonly constants: GraphConstant[] = [];
  /** Per global value: the local value of each form it has taken so far. */
  private readonly forms: Map<string, ValueId>[];
  private readonly needsGradient: readonly boolean[];

  constructor(
    private readonly graph: Graph,
    private readonly assignment: Assignment,
    private readonly index: number,
  ) {
    this.forms = graph.values.map(() => new Map());
    this.needsGradient = assignment.training ? valuesWithGradient(graph) : graph.values.map(() => false);
  }

  run(): Graph {
    const { graph } = this;
    const inputs = graph.inputs.map(({ name, value }) => ({ name, value: this.addStored(value) }));
    const parameters = graph.parameters.map((parameter) => ({ ...parameter, value: this.addStored(parameter.value) }));
    for (const constant of graph.constants) {
      const { shape } = this.valueOf(constant.value);
      const data = sliceParameter(constant.data, shape, this.layoutOf(constant.value), this.degree, this.index);
      this.constants.push({ value: this.addStored(constant.value), data });
    }
    graph.nodes.forEach((node, position) => {
      this.addLocal(node, this.assignment.inputLayouts[position] ?? []);
    });
    const outputs = graph.outputs.map(({ name, value }) => ({ name, value: this.form(value, REPLICATE, false) }));
    const updates = graph.updates.map(({ parameter, value }) => {
      const target = graph.parameters[parameter];
      const layout = target === undefined ? REPLICATE : this.layoutOf(target.value);
      return { parameter, value: this.form(value, layout, false) };
    });
    const { values, nodes, constants } = this;
    return { values, nodes, inputs, parameters, constants, outputs, updates };
  }

  private get degree(): number {
    return this.assignment.degree;
  }

  private valueOf(value: ValueId): Value {
    const found = this.graph.values[value];
    if (found === undefined) throw new MerakError('layout/illegal', `the graph has no value ${value}`);
    return found;
  }

  private layoutOf(value: ValueId): Layout {
    return this.assignment.layouts[value] ?? REPLICATE;
  }

  /** A new local value that stands for a global one in some layout. */
  private addValue(like: ValueId, layout: Layout): ValueId {
    const { shape, dtype, batchDim } = this.valueOf(like);
    this.values.push({ shape: localShape(layout, shape, this.degree), dtype, batchDim });
    return this.values.length - 1;
  }

  private addStored(value: ValueId): ValueId {
    return this.remember(value, layoutKey(this.layoutOf(value)), this.addValue(value, this.layoutOf(value)));
  }

  private remember(value: ValueId, form: string, local: ValueId): ValueId {
    this.forms[value]?.set(form, local);
    return local;
  }

  /** The local value of a global one in the layout asked for; collectives are added once per value and form. */
  private form(value: ValueId, layout: Layout, spread: boolean, reader?: Node): ValueId {
    const fanOut = spread && layout.kind === 'replicate' && this.needsGradient[value] === true;
    const key = fanOut ? 'fanOut' : layoutKey(layout);
    const known = this.forms[value]?.get(key);
    if (known !== undefined) return known;
    const scope = this.scopeOf(value, reader);
    const collective = (kernel: string, from: ValueId, attrs: Attrs): ValueId => {
      const output = this.addValue(value, layout);
      const names = { inputs: [from], inputNames: ['x'], outputs: [output] };
      this.nodes.push({ kernel, ...names, attrs: { axis: AXIS, ...attrs }, scope });
      return this.remember(value, key, output);
    };
    const native = this.layoutOf(value);
    const rank = { degree: this.degree, index: this.index };
    const isWhole = this.forms[value]?.has(layoutKey(REPLICATE)) === true;
    const { shape } = this.valueOf(value);
    const made = (): ValueId => {
      const from = this.forms[value]?.get(layoutKey(native));
      if (from === undefined) throw new MerakError('layout/illegal', `value ${value} is read before it is produced`);
      return from;
    };
    const gather = (attrs: Attrs): ValueId => {
      if (native.kind !== 'shard') throw new MerakError('layout/illegal', 'only a sum has a partial form');
      const { dim, parts } = native;
      return collective('MerakAllGather', made(), { dim, parts, size: shape[dim] ?? 0, ...rank, ...attrs });
    };
    if (fanOut) {
      // One exchange each way: gathered forward, summed and scattered backward.
      if (!isWhole && scatters(native, shape)) return gather({ spread: true });
      return collective('MerakFanOut', this.form(value, REPLICATE, false, reader), {});
    }
    if (layout.kind === 'shard') {
      const { dim, parts, paddedSize } = layout;
      const attrs = { dim, parts, paddedSize, ...rank };
      if (native.kind === 'partial' && !isWhole && scatters(layout, shape))
        return collective('MerakReduceScatter', made(), attrs);
      return collective('MerakShard', this.form(value, REPLICATE, false, reader), attrs);
    }
    return native.kind === 'partial' ? collective('MerakAllReduce', made(), { op: 'sum' }) : gather({});
  }

  private scopeOf(value: ValueId, reader: Node | undefined): string {
    return this.producers.get(value)?.scope ?? reader?.scope ?? '';
  }

  private readonly producers = new Map<ValueId, Node>();

  private addLocal(node: Node, inputLayouts: readonly Layout[]): void {
    for (const output of node.outputs) this.producers.set(output, node);
    const outputLayouts = node.outputs.map((output) => this.layoutOf(output));
    const rule = ruleOf(this.graph, node);
    const strategy = matchStrategy(rule, { inputs: inputLayouts, outputs: outputLayouts }, this.degree);
    if (strategy === undefined) throw new MerakError('layout/illegal', `${node.kernel} has no such strategy`);
    const inputs = node.inputs.map((value, input) => {
      return this.form(value, inputLayouts[input] ?? REPLICATE, strategy.spread, node);
    });
    const call = this.callOf(node, rule, strategy.factor, inputLayouts, outputLayouts);
    const scale = call.outputScale ?? 1;
    const outputs = node.outputs.map((output) => this.addValue(output, this.layoutOf(output)));
    const { kernel, inputNames, attrs } = call;
    this.nodes.push({ ...node, kernel, inputNames, attrs, inputs, outputs });
    node.outputs.forEach((output, i) => {
      const local = outputs[i] ?? 0;
      const result = scale === 1 ? local : this.addScaled(node, output, local, scale);
      this.remember(output, layoutKey(this.layoutOf(output)), result);
    });
  }

  private callOf(
    node: Node,
    rule: Rule,
    factor: number,
    inputLayouts: readonly Layout[],
    outputLayouts: readonly Layout[],
  ): LocalCall {
    if (factor < 0 || rule.localise === undefined) {
      return { kernel: node.kernel, inputNames: node.inputNames, attrs: node.attrs };
    }
    const shapes = (values: readonly ValueId[]) => values.map((value) => this.valueOf(value).shape);
    const local = (all: readonly (readonly number[])[], layouts: readonly Layout[]) =>
      all.map((shape, i) => localShape(layouts[i] ?? REPLICATE, shape, this.degree));
    const inputShapes = shapes(node.inputs);
    const outputShapes = shapes(node.outputs);
    return rule.localise({
      node,
      degree: this.degree,
      index: this.index,
      factor,
      inputShapes,
      outputShapes,
      localInputShapes: local(inputShapes, inputLayouts),
      localOutputShapes: local(outputShapes, outputLayouts),
      inputLayouts,
      outputLayouts,
    });
  }

  private addScaled(node: Node, output: ValueId, local: ValueId, scale: number): ValueId {
    this.values.push({ shape: [], dtype: 'float32', batchDim: -1 });
    const factor = this.values.length - 1;
    this.constants.push({ value: factor, data: Float32Array.of(scale) });
    const scaled = this.addValue(output, this.layoutOf(output));
    const names = { inputs: [local, factor], inputNames: ['a', 'b'], outputs: [scaled] };
    this.nodes.push({ kernel: 'Multiply', ...names, attrs: {}, scope: node.scope });
    return scaled;
  }
}

/** Whether a sum can be scattered into this layout: a dim without padding. */
export function scatters(layout: Layout, shape: readonly number[]): boolean {
  return layout.kind === 'shard' && layout.paddedSize === shape[layout.dim];
}

/** Whether an assignment shards anything at all. */
export function isSharded(assignment: Assignment): boolean {
  return assignment.layouts.some((layout) => !sameLayout(layout, REPLICATE));
}
