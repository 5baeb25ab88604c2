/** The layout checker: every node against its rule, every conversion against what the collectives can do. */
import { MerakError } from '../errors.js';
import type { Graph, Node, ValueId } from '../graph/graph.js';
import type { Assignment } from './assignment.js';
import { type Layout, REPLICATE } from './layout.js';
import { ruleOf } from './rules/registry.js';
import { describeLayout, layoutProblem, sameLayout } from './shards.js';
import { matchStrategy } from './strategies.js';

/**
 * Raises layout/illegal, naming the op, its scope and the layouts, when the assignment would compute something else than
 * the graph: a layout that does not fit its value, a combination no rule allows, a conversion no collective makes.
 */
export function checkLayouts(graph: Graph, assignment: Assignment): void {
  const { layouts, inputLayouts, degree } = assignment;
  if (layouts.length !== graph.values.length || inputLayouts.length !== graph.nodes.length) {
    throw new MerakError('layout/illegal', 'the assignment is not of this graph', {
      expected: `${graph.values.length} values and ${graph.nodes.length} nodes`,
      received: `${layouts.length} values and ${inputLayouts.length} nodes`,
    });
  }
  graph.values.forEach((value, id) => {
    const problem = layoutProblem(layouts[id] ?? REPLICATE, value.shape, degree);
    if (problem !== undefined) throw illegalValue(graph, id, layouts[id] ?? REPLICATE, problem);
  });
  for (const { value } of graph.inputs) requireReplicated(graph, value, layouts, 'a batch field');
  for (const { value } of [...graph.parameters, ...graph.constants]) {
    if (layouts[value]?.kind === 'partial')
      throw illegalValue(graph, value, layouts[value], 'it is stored, not summed');
  }
  graph.nodes.forEach((node, index) => {
    checkNode(graph, assignment, node, inputLayouts[index] ?? []);
  });
  for (const { value } of graph.outputs) checkConversion(graph, value, layouts, REPLICATE, 'the graph output');
  for (const { parameter, value } of graph.updates) {
    const target = graph.parameters[parameter];
    const layout = target === undefined ? REPLICATE : (layouts[target.value] ?? REPLICATE);
    checkConversion(graph, value, layouts, layout, `the update of ${target?.name ?? 'a parameter'}`);
  }
}

function checkNode(graph: Graph, assignment: Assignment, node: Node, inputs: readonly Layout[]): void {
  const { layouts, degree } = assignment;
  const outputs = node.outputs.map((output) => layouts[output] ?? REPLICATE);
  const rule = ruleOf(graph, node);
  if (inputs.length !== node.inputs.length || matchStrategy(rule, { inputs, outputs }, degree) === undefined) {
    throw new MerakError('layout/illegal', `${node.kernel} cannot take and give these layouts`, {
      path: whereIs(node),
      expected: 'layouts its rule allows together',
      received: `${describeAll(graph, node.inputs, inputs)} -> ${describeAll(graph, node.outputs, outputs)}`,
    });
  }
  node.inputs.forEach((value, input) => {
    checkConversion(graph, value, layouts, inputs[input] ?? REPLICATE, `${node.kernel} at ${whereIs(node)}`);
  });
}

/** Collectives turn partial and shards into anything but partial, floats only; other types stay as they are, or are cut. */
function checkConversion(graph: Graph, value: ValueId, layouts: readonly Layout[], to: Layout, reader: string): void {
  const from = layouts[value] ?? REPLICATE;
  if (sameLayout(from, to)) return;
  const { shape, dtype } = graph.values[value] ?? { shape: [], dtype: 'float32' };
  const possible = to.kind !== 'partial' && dtype === 'float32' && layoutProblem(to, shape, 1) === undefined;
  if (possible) return;
  throw new MerakError('layout/illegal', `no collective turns this ${dtype} value into the layout ${reader} needs`, {
    path: whereIs(graph.nodes.find((node) => node.outputs.includes(value))),
    expected: describeLayout(to, shape),
    received: describeLayout(from, shape),
  });
}

function requireReplicated(graph: Graph, value: ValueId, layouts: readonly Layout[], what: string): void {
  const layout = layouts[value] ?? REPLICATE;
  if (layout.kind !== 'replicate') throw illegalValue(graph, value, layout, `${what} is on every rank`);
}

function illegalValue(graph: Graph, value: ValueId, layout: Layout | undefined, problem: string): MerakError {
  const name = [...graph.inputs, ...graph.parameters].find((named) => named.value === value)?.name;
  const producer = graph.nodes.find((node) => node.outputs.includes(value));
  const shape = graph.values[value]?.shape ?? [];
  return new MerakError('layout/illegal', `an illegal layout: ${problem}`, {
    path: name ?? whereIs(producer),
    expected: `a layout of [${shape}]`,
    received: layout === undefined ? 'none' : describeLayout(layout, shape),
  });
}

function describeAll(graph: Graph, values: readonly ValueId[], layouts: readonly Layout[]): string {
  return values.map((value, i) => describeLayout(layouts[i] ?? REPLICATE, graph.values[value]?.shape ?? [])).join(', ');
}

function whereIs(node: Node | undefined): string {
  if (node === undefined) return 'a stored value';
  const source = node.source === undefined ? '' : ` (${node.source})`;
  return `${node.kernel} ${node.scope === '' ? '(no scope)' : node.scope}${source}`;
}
