/** The ways each node of a graph may be laid out: rules asked about every layout that can reach the node. */
import type { Graph, ValueId } from '../graph/graph.js';
import { type CallLayouts, type FactorShard, factorShardOf, layoutsOf } from './factors.js';
import { type Layout, PARTIAL, REPLICATE } from './layout.js';
import type { Rule } from './rule.js';
import { ruleOf } from './rules/registry.js';
import { layoutKey, layoutProblem, paddedTo, type ShardLayout } from './shards.js';

/** One way to lay out a node. `spread`: its ranks compute different things, so replicated inputs need MerakFanOut. */
export interface Strategy extends CallLayouts {
  readonly spread: boolean;
  /** The work is divided by the degree (otherwise every rank does all of it). */
  readonly divided: boolean;
}

/** Layouts a value could take are limited: models need few, and the search pays for each. */
const MAX_LAYOUTS_PER_VALUE = 12;

/**
 * Every strategy of every node, in step with `graph.nodes`; the first of a node is always "all replicated". Layouts
 * spread from each node's own shardable factors and from `wanted` through the rules in both directions until nothing
 * new appears, which is how a q|k|v weight learns that its reader wants three parts. The batch dim is never sharded:
 * that is the data axis's work.
 */
export function strategiesOf(
  graph: Graph,
  degree: number,
  wanted: ReadonlyMap<ValueId, Layout>,
): readonly (readonly Strategy[])[] {
  const rules = graph.nodes.map((node) => ruleOf(graph, node));
  const layouts: Map<string, ShardLayout>[] = graph.values.map(() => new Map());
  const found: Map<string, Strategy>[] = graph.nodes.map(() => new Map());
  let grew = false;

  const offer = (value: ValueId, layout: Layout): void => {
    const known = layouts[value];
    if (layout.kind !== 'shard' || known === undefined || known.has(layoutKey(layout))) return;
    if (known.size >= MAX_LAYOUTS_PER_VALUE) return;
    known.set(layoutKey(layout), layout);
    grew = true;
  };
  const tryShard = (index: number, shard: FactorShard): void => {
    const node = graph.nodes[index];
    const rule = rules[index];
    const strategies = found[index];
    const key = `${shard.factor}:${shard.parts}:${shard.paddedSize}`;
    if (node === undefined || rule === undefined || strategies === undefined || strategies.has(key)) return;
    const call = layoutsOf(rule, shard, degree);
    if (call === undefined) return;
    const operands = [...node.inputs, ...node.outputs];
    const operandLayouts = [...call.inputs, ...call.outputs];
    if (!operands.every((value, i) => allowed(graph, value, operandLayouts[i] ?? REPLICATE, degree))) return;
    strategies.set(key, { ...call, spread: true, divided: true });
    operands.forEach((value, i) => {
      offer(value, operandLayouts[i] ?? REPLICATE);
    });
  };

  for (const [value, layout] of wanted) offer(value, layout);
  graph.nodes.forEach((_, index) => {
    for (const shard of ownShards(rules[index], degree)) tryShard(index, shard);
  });
  const visit = (index: number): void => {
    const node = graph.nodes[index];
    const rule = rules[index];
    if (node === undefined || rule === undefined) return;
    const dims = [...rule.inputs, ...rule.outputs];
    [...node.inputs, ...node.outputs].forEach((value, i) => {
      for (const layout of layouts[value]?.values() ?? []) {
        const shard = factorShardOf(dims[i] ?? [], rule.factors, layout);
        if (shard !== undefined) tryShard(index, shard);
      }
    });
  };
  do {
    grew = false;
    for (let index = graph.nodes.length - 1; index >= 0; index--) visit(index);
    for (let index = 0; index < graph.nodes.length; index++) visit(index);
  } while (grew);

  return withPartials(graph, rules, found);
}

/** Shards of the rule's factors worth proposing without having been asked. */
function ownShards(rule: Rule | undefined, degree: number): FactorShard[] {
  return (rule?.factors ?? []).flatMap((factor, index) => {
    if (factor.kind === 'whole' || factor.size < 2) return [];
    const paddedSize = paddedTo(factor.size, degree);
    // Every rank must have something that is not padding.
    const tooSmall = (paddedSize / degree) * (degree - 1) >= factor.size;
    if (tooSmall || (paddedSize !== factor.size && factor.padding !== 'wanted')) return [];
    return [{ factor: index, parts: 1, paddedSize }];
  });
}

/** Of a dim that holds the batch and the sequence together, the parts may be the samples: then the sequence is split. */
function splitsBatch(graph: Graph, layout: ShardLayout, batchDim: number): boolean {
  if (layout.dim !== batchDim) return false;
  const numSamples = graph.inputs.map(({ value }) => graph.values[value]?.shape[0] ?? 0)[0];
  return numSamples === undefined || numSamples === 0 || layout.parts % numSamples !== 0;
}

function allowed(graph: Graph, value: ValueId, layout: Layout, degree: number): boolean {
  const described = graph.values[value];
  if (described === undefined || layout.kind === 'replicate') return true;
  if (layout.kind === 'partial') return described.dtype === 'float32';
  return (
    !splitsBatch(graph, layout, described.batchDim) && layoutProblem(layout, described.shape, degree) === undefined
  );
}

/** Adds to each node "all replicated" and the ways to let partial values, where they can arise, pass through it. */
function withPartials(
  graph: Graph,
  rules: readonly Rule[],
  found: readonly ReadonlyMap<string, Strategy>[],
): readonly (readonly Strategy[])[] {
  const canBePartial = graph.values.map(() => false);
  return graph.nodes.map((node, index) => {
    const strategies: Strategy[] = [
      allReplicated(node.inputs.length, node.outputs.length),
      ...(found[index]?.values() ?? []),
    ];
    const isFloat = (value: ValueId): boolean => graph.values[value]?.dtype === 'float32';
    if (node.outputs.every(isFloat)) {
      for (const set of rules[index]?.linear ?? []) {
        if (set.length === 0 || !set.every((input) => canBePartial[node.inputs[input] ?? -1])) continue;
        strategies.push({
          inputs: node.inputs.map((_, input) => (set.includes(input) ? PARTIAL : REPLICATE)),
          outputs: node.outputs.map(() => PARTIAL),
          spread: true,
          divided: false,
        });
      }
    }
    for (const strategy of strategies) {
      strategy.outputs.forEach((layout, output) => {
        if (layout.kind === 'partial') canBePartial[node.outputs[output] ?? -1] = true;
      });
    }
    return strategies;
  });
}

function allReplicated(numInputs: number, numOutputs: number): Strategy {
  return {
    inputs: Array.from({ length: numInputs }, () => REPLICATE),
    outputs: Array.from({ length: numOutputs }, () => REPLICATE),
    spread: false,
    divided: false,
  };
}

/** The strategy of a node that has exactly these layouts, or undefined when they are not legal together. */
export function matchStrategy(
  rule: Rule,
  layouts: CallLayouts,
  degree: number,
): (Strategy & { factor: number }) | undefined {
  const keyOf = (call: CallLayouts): string =>
    `${call.inputs.map(layoutKey).join()}>${call.outputs.map(layoutKey).join()}`;
  const wanted = keyOf(layouts);
  const replicated = allReplicated(rule.inputs.length, rule.outputs.length);
  if (keyOf(replicated) === wanted) return { ...replicated, factor: -1 };
  if (layouts.outputs.every((layout) => layout.kind === 'partial')) {
    const partialInputs = layouts.inputs.flatMap((layout, input) => (layout.kind === 'partial' ? [input] : []));
    const others = layouts.inputs.every((layout) => layout.kind !== 'shard');
    const isLinear = rule.linear.some((set) => set.length > 0 && set.join() === partialInputs.join());
    if (others && isLinear) return { ...layouts, spread: true, divided: false, factor: -1 };
  }
  const dims = [...rule.inputs, ...rule.outputs];
  const operandLayouts = [...layouts.inputs, ...layouts.outputs];
  for (let operand = 0; operand < dims.length; operand++) {
    const layout = operandLayouts[operand];
    if (layout?.kind !== 'shard') continue;
    const shard = factorShardOf(dims[operand] ?? [], rule.factors, layout);
    const call = shard === undefined ? undefined : layoutsOf(rule, shard, degree);
    if (shard === undefined || call === undefined || keyOf(call) !== wanted) return undefined;
    return { ...call, spread: true, divided: true, factor: shard.factor };
  }
  return undefined;
}
