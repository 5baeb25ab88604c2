/** Tensor parallelism found from the graph: the cheapest layouts, by dynamic programming over the topological order. */
import { MerakError } from '../errors.js';
import type { Graph, Node, ValueId } from '../graph/graph.js';
import type { Assignment } from './assignment.js';
import { checkLayouts } from './check.js';
import { type Conversion, type ConversionContext, convert, type Form, makeForm } from './conversions.js';
import { type CostModel, DEFAULT_COST_MODEL, nodeSeconds, parameterSeconds } from './cost.js';
import { valuesWithGradient } from './gradients.js';
import { type Layout, REPLICATE } from './layout.js';
import { describeLayout, layoutKey, layoutProblem, localShape, product } from './shards.js';
import { type Strategy, strategiesOf } from './strategies.js';

export type SequenceParallel = 'auto' | 'on' | 'off';

export interface LayoutOptions {
  /** Layouts of parameters by name that are given, not chosen: those of the training plan, for evaluate and predict. */
  readonly pinned?: ReadonlyMap<string, Layout>;
  /**
   * `cost` (default): the fastest by the cost model, all replicated if sharding does not pay. `shard`: count products
   * dear and meeting free, so that whatever multiplies matrices is sharded where it legally can be.
   */
  readonly prefer?: 'cost' | 'shard';
  readonly costModel?: CostModel;
  /**
   * Whether values between the products may be split along a dim of their own (the sequence): reduce-scatter and all-gather
   * in place of all-reduce. `off` (default); `auto`: where it is the fastest; `on`: wherever it saves memory or time.
   */
  readonly sequenceParallel?: SequenceParallel;
  /** Whether a backward pass follows (default true). Without one no MerakFanOut is needed and none is counted. */
  readonly training?: boolean;
  /** States kept per node: more is slower and closer to exact. */
  readonly beamWidth?: number;
}

const DEFAULT_BEAM_WIDTH = 64;
/** How many times products count under `prefer: 'shard'`. */
const SHARD_PREFERENCE = 20;

/** A partial solution: forms of the live values in the order of the step's `live` list. */
interface State {
  readonly seconds: number;
  readonly forms: readonly Form[];
  /** Every choice so far was "replicated": this path can always go on, so pruning spares it. */
  readonly plain: boolean;
  readonly previous: State | undefined;
  readonly choice: Choice | undefined;
}

/** One node of the order: who is alive around it, and what it must deliver. */
interface Step {
  readonly node: Node;
  readonly index: number;
  /** Values read here for the first time, stored ones all. */
  readonly fresh: readonly ValueId[];
  /** Where each input lies among the forms: those alive before, then the fresh ones, then the outputs. */
  readonly inputAt: readonly number[];
  /** Outputs of the graph and updates of parameters made here, with where they (and the parameter) lie. */
  readonly results: readonly {
    readonly value: ValueId;
    readonly at: number;
    readonly parameterAt: number | undefined;
  }[];
  /** Which forms stay alive. */
  readonly keep: readonly number[];
  /** Seconds of the node when no rank's work is divided. */
  readonly seconds: number;
}

/** A strategy of a step with what does not depend on the state it meets. */
interface Way {
  readonly strategy: Strategy;
  readonly seconds: number;
  readonly starts: readonly Start[];
  readonly outputs: readonly Form[];
}

/** Layouts of the values first read in a step. */
interface Start {
  readonly stored: readonly (readonly [ValueId, Layout])[];
  readonly forms: readonly Form[];
  readonly seconds: number;
  readonly plain: boolean;
}

/** What a step decided: a node's strategy and the layouts of values stored from here on. */
interface Choice {
  readonly node: number;
  readonly strategy: Strategy;
  readonly stored: readonly (readonly [ValueId, Layout])[];
}

/**
 * Chooses a layout for every value of `graph` on `degree` ranks of the tensor axis: seconds of computing plus forward and
 * backward collectives plus the upkeep of parameters, minimised. The state of the search is the layouts of the values
 * still to be read, tied parameters among them. Deterministic. Raises layout/illegal when a pinned layout does not fit.
 */
export function chooseLayouts(graph: Graph, degree: number, options: LayoutOptions = {}): Assignment {
  if (!Number.isInteger(degree) || degree < 1) {
    throw new MerakError('config/degrees', 'the tensor degree is not valid', {
      expected: 'a positive integer',
      received: String(degree),
    });
  }
  const search = new Search(graph, degree, options);
  const assignment = degree === 1 ? search.replicated() : search.run();
  checkLayouts(graph, assignment);
  return assignment;
}

class Search {
  private readonly training: boolean;
  private readonly model: CostModel;
  private readonly context: ConversionContext;
  private readonly pinned = new Map<ValueId, Layout>();
  private readonly strategies: readonly (readonly Strategy[])[];
  private readonly parameterValues: ReadonlySet<ValueId>;
  private readonly lastUse: readonly number[];
  private readonly numUses: readonly number[];
  private readonly storedOptions = new Map<ValueId, readonly Layout[]>();
  private readonly keys = new Map<Layout, string>();

  constructor(
    private readonly graph: Graph,
    private readonly degree: number,
    private readonly options: LayoutOptions,
  ) {
    this.training = options.training ?? true;
    this.model = preferred(options);
    for (const { name, value } of graph.parameters) {
      const layout = options.pinned?.get(name);
      if (layout === undefined) continue;
      checkPinned(name, layout, graph.values[value]?.shape ?? [], degree);
      this.pinned.set(value, layout);
    }
    this.parameterValues = new Set(graph.parameters.map(({ value }) => value));
    for (const { value } of graph.inputs) this.pinned.set(value, REPLICATE);
    const trained = valuesWithGradient(graph);
    this.context = {
      graph,
      degree,
      model: this.model,
      needsGradient: this.training ? trained : graph.values.map(() => false),
      activations: new Set(graph.nodes.flatMap((node) => node.outputs.filter((output) => trained[output]))),
      sequenceParallel: (options.sequenceParallel ?? 'off') !== 'off',
      freeParameters: new Set([...this.parameterValues].filter((value) => !this.pinned.has(value))),
    };
    this.strategies = degree === 1 ? [] : strategiesOf(graph, degree, this.pinned);
    const { lastUse, numUses } = usesOf(graph);
    this.lastUse = lastUse;
    this.numUses = numUses;
  }

  replicated(): Assignment {
    const { graph, degree, training } = this;
    return {
      degree,
      training,
      layouts: graph.values.map(() => REPLICATE),
      inputLayouts: graph.nodes.map((node) => node.inputs.map(() => REPLICATE)),
      seconds: graph.nodes.reduce((total, node) => total + this.secondsOf(node), 0),
    };
  }

  run(): Assignment {
    const beamWidth = this.options.beamWidth ?? DEFAULT_BEAM_WIDTH;
    let states: State[] = [{ seconds: 0, forms: [], plain: true, previous: undefined, choice: undefined }];
    for (const step of this.steps()) {
      const best = new Map<string, State>();
      const ways = (this.strategies[step.index] ?? []).map((strategy) => this.wayOf(step, strategy));
      for (const state of states) for (const way of ways) this.expand(step, way, state, best);
      states = prune([...best.values()], beamWidth);
    }
    const [winner] = states;
    if (winner === undefined) throw new MerakError('layout/illegal', 'no legal layout was found for the graph');
    return this.assignmentOf(winner);
  }

  private steps(): Step[] {
    let live: readonly ValueId[] = [];
    return this.graph.nodes.map((node, index) => {
      const results = this.resultsOf(node);
      const targets = results.flatMap(({ parameter }) => (parameter === undefined ? [] : [parameter]));
      const known = new Set(live);
      const fresh = [...new Set([...node.inputs, ...targets])].filter((value) => !known.has(value));
      const all = [...live, ...fresh, ...node.outputs];
      const at = new Map(all.map((value, position) => [value, position]));
      live = all.filter((value) => (this.lastUse[value] ?? -1) > index);
      const positionOf = (value: ValueId): number => at.get(value) ?? -1;
      return {
        node,
        index,
        fresh,
        inputAt: node.inputs.map(positionOf),
        results: results.map(({ value, parameter }) => ({
          value,
          at: positionOf(value),
          parameterAt: parameter === undefined ? undefined : positionOf(parameter),
        })),
        keep: live.map(positionOf),
        seconds: this.secondsOf(node),
      };
    });
  }

  private wayOf(step: Step, strategy: Strategy): Way {
    const starts = this.storedChoices(step.node, strategy, step.fresh).map((stored): Start => {
      return {
        stored,
        forms: stored.map(([, layout]) => makeForm(layout, this.keyOf(layout))),
        seconds: stored.reduce((sum, [value, layout]) => sum + this.upkeepSeconds(value, layout), 0),
        plain: !strategy.spread && stored.every(([value, layout]) => this.isPlain(value, layout)),
      };
    });
    const outputs = strategy.outputs.map((layout) => makeForm(layout, this.keyOf(layout)));
    return { strategy, seconds: strategy.divided ? step.seconds / this.degree : step.seconds, starts, outputs };
  }

  /** All that `state` may become by going through the step in one way, into `best` by the forms that remain. */
  private expand(
    step: Step,
    { strategy, seconds: share, starts, outputs }: Way,
    state: State,
    best: Map<string, State>,
  ): void {
    const { node } = step;
    for (const start of starts) {
      let seconds = state.seconds + share + start.seconds;
      const forms = [...state.forms, ...start.forms];
      const take = (value: ValueId, at: number, layout: Layout, spread: boolean): boolean => {
        const taken = this.convertForm(value, forms[at], layout, spread);
        if (taken === undefined) return false;
        seconds += taken.seconds;
        forms[at] = taken.form;
        return true;
      };
      const taken = node.inputs.every((value, input) =>
        take(value, step.inputAt[input] ?? -1, strategy.inputs[input] ?? REPLICATE, strategy.spread),
      );
      if (!taken) continue;
      forms.push(...outputs);
      const delivered = step.results.every(({ value, at, parameterAt }) =>
        take(value, at, (parameterAt === undefined ? undefined : forms[parameterAt]?.native) ?? REPLICATE, false),
      );
      if (!delivered) continue;
      const remaining = step.keep.map((at) => forms[at] ?? makeForm(REPLICATE, 'replicate'));
      const plain = state.plain && start.plain;
      // The plain path competes with nobody: it must stay to the end.
      const key = `${plain ? 'plain ' : ''}${remaining.map((form) => form.key).join(' ')}`;
      const rival = best.get(key);
      if (rival !== undefined && rival.seconds <= seconds) continue;
      const choice = { node: step.index, strategy, stored: start.stored };
      best.set(key, { seconds, forms: remaining, plain, previous: state, choice });
    }
  }

  private convertForm(value: ValueId, form: Form | undefined, layout: Layout, spread: boolean): Conversion | undefined {
    if (form === undefined) return undefined;
    return convert(this.context, value, form, this.keyOf(form.native), layout, this.keyOf(layout), spread);
  }

  private isPlain(value: ValueId, layout: Layout): boolean {
    return layout.kind === 'replicate' || this.pinned.has(value);
  }

  /** Layouts for the values first read here: every combination worth trying. */
  private storedChoices(
    node: Node,
    strategy: Strategy,
    fresh: readonly ValueId[],
  ): (readonly (readonly [ValueId, Layout])[])[] {
    let choices: (readonly (readonly [ValueId, Layout])[])[] = [[]];
    for (const value of fresh) {
      const taken = strategy.inputs[node.inputs.indexOf(value)] ?? REPLICATE;
      const options = this.optionsOf(value, taken);
      choices = choices.flatMap((choice) => options.map((layout) => [...choice, [value, layout] as const]));
    }
    return choices;
  }

  private optionsOf(value: ValueId, taken: Layout): readonly Layout[] {
    const pinned = this.pinned.get(value);
    if (pinned !== undefined) return [pinned];
    if (this.numUses[value] === 1) return taken.kind === 'partial' ? [] : [taken];
    const known = this.storedOptions.get(value);
    if (known !== undefined) return known;
    const options = new Map<string, Layout>([['replicate', REPLICATE]]);
    this.graph.nodes.forEach((node, index) => {
      node.inputs.forEach((input, position) => {
        if (input !== value) return;
        for (const strategy of this.strategies[index] ?? []) {
          const layout = strategy.inputs[position];
          if (layout?.kind === 'shard') options.set(layoutKey(layout), layout);
        }
      });
    });
    this.storedOptions.set(value, [...options.values()]);
    return [...options.values()];
  }

  private upkeepSeconds(value: ValueId, layout: Layout): number {
    if (!this.parameterValues.has(value) || !this.training) return 0;
    const { shape } = this.graph.values[value] ?? { shape: [] };
    return parameterSeconds(4 * product(localShape(layout, shape, this.degree)), this.model);
  }

  private secondsOf(node: Node): number {
    const hasGradient = node.outputs.some((output) => this.context.needsGradient[output]);
    return nodeSeconds(this.graph, node, hasGradient, this.model);
  }

  /** Graph outputs and parameter updates that `node` produces. */
  private resultsOf(node: Node): { value: ValueId; parameter: ValueId | undefined }[] {
    const outputs = this.graph.outputs.map(({ value }) => ({ value, parameter: undefined }));
    const updates = this.graph.updates.map(({ value, parameter }) => ({
      value,
      parameter: this.graph.parameters[parameter]?.value,
    }));
    return [...outputs, ...updates].filter(({ value }) => node.outputs.includes(value));
  }

  private keyOf(layout: Layout): string {
    const known = this.keys.get(layout);
    if (known !== undefined) return known;
    const key = layoutKey(layout);
    this.keys.set(layout, key);
    return key;
  }

  private assignmentOf(winner: State): Assignment {
    const layouts: Layout[] = this.graph.values.map((_, value) => this.pinned.get(value) ?? REPLICATE);
    const inputLayouts: (readonly Layout[])[] = this.graph.nodes.map(() => []);
    for (let state: State | undefined = winner; state?.choice !== undefined; state = state.previous) {
      const { node, strategy, stored } = state.choice;
      for (const [value, layout] of stored) layouts[value] = layout;
      inputLayouts[node] = strategy.inputs;
      this.graph.nodes[node]?.outputs.forEach((output, i) => {
        layouts[output] = strategy.outputs[i] ?? REPLICATE;
      });
    }
    return { degree: this.degree, training: this.training, layouts, inputLayouts, seconds: winner.seconds };
  }
}

function preferred({ prefer = 'cost', costModel = DEFAULT_COST_MODEL, sequenceParallel }: LayoutOptions): CostModel {
  if (prefer === 'cost') return sequenceParallel === 'on' ? { ...costModel, latencySeconds: 0 } : costModel;
  return { ...costModel, productWeight: costModel.productWeight * SHARD_PREFERENCE, latencySeconds: 0 };
}

function checkPinned(name: string, layout: Layout, shape: readonly number[], degree: number): void {
  const problem =
    layout.kind === 'partial' ? 'a parameter is stored, not summed' : layoutProblem(layout, shape, degree);
  if (problem === undefined) return;
  throw new MerakError('layout/illegal', `the given layout does not fit its parameter: ${problem}`, {
    path: name,
    expected: `a layout of [${shape}] on ${degree} ranks`,
    received: describeLayout(layout, shape),
  });
}

/** The cheapest states, and the all-replicated one, which no later kernel can refuse. */
function prune(states: State[], beamWidth: number): State[] {
  states.sort((a, b) => a.seconds - b.seconds);
  const kept = states.slice(0, beamWidth);
  const plain = states.find((state) => state.plain);
  if (plain !== undefined && !kept.includes(plain)) kept.push(plain);
  return kept;
}

/** Index of the last node that reads each value or whose result updates it, and how often it is read. */
function usesOf(graph: Graph): { lastUse: number[]; numUses: number[] } {
  const lastUse = graph.values.map(() => -1);
  const numUses = graph.values.map(() => 0);
  const producer = new Map<ValueId, number>();
  graph.nodes.forEach((node, index) => {
    for (const output of node.outputs) producer.set(output, index);
    for (const input of node.inputs) {
      lastUse[input] = index;
      numUses[input] = (numUses[input] ?? 0) + 1;
    }
  });
  for (const { parameter, value } of graph.updates) {
    const target = graph.parameters[parameter]?.value;
    if (target === undefined) continue;
    lastUse[target] = Math.max(lastUse[target] ?? -1, producer.get(value) ?? -1);
    numUses[target] = (numUses[target] ?? 0) + 1;
  }
  return { lastUse, numUses };
}
