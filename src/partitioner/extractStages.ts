/** Cutting a graph whose nodes have stages into one graph per stage. */
import { MerakError } from '../errors.js';
import type { Graph, Node, Value, ValueId } from '../graph/graph.js';
import { classifyNodes } from './classify.js';
import { isAlias, producersOf } from './producers.js';
import type { Stage } from './stage.js';

/** What one stage takes part in, by ids of the whole graph. */
interface Demand {
  readonly nodes: Set<number>;
  readonly fields: Set<ValueId>;
  readonly parameters: Set<ValueId>;
  readonly constants: Set<ValueId>;
  readonly received: Set<ValueId>;
  readonly updates: Set<number>;
}

/**
 * Stage graphs as stage.ts describes them. Batch fields and constants go to every stage that reads them; repeatable
 * nodes and reshaped views are repeated rather than sent; all else is sent, through the stages between if need be.
 *
 * @param stageOfNode per node; never decreasing along an edge (repeatable nodes apart)
 * @throws MerakError 'plan/invalid' when an edge runs backwards.
 */
export function extractStages(graph: Graph, stageOfNode: readonly number[], numStages: number): Stage[] {
  const demands = demandOf(graph, stageOfNode, numStages);
  return demands.map((demand, stage) => buildStage(graph, demand, demands[stage + 1], stage));
}

function demandOf(graph: Graph, stageOfNode: readonly number[], numStages: number): Demand[] {
  const { classOf } = classifyNodes(graph);
  const producer = producersOf(graph);
  const fields = new Set(graph.inputs.map((input) => input.value));
  const parameters = new Set(graph.parameters.map((parameter) => parameter.value));
  const demands = Array.from(
    { length: numStages },
    (): Demand => ({
      nodes: new Set(),
      fields: new Set(),
      parameters: new Set(),
      constants: new Set(),
      received: new Set(),
      updates: new Set(),
    }),
  );

  const addNode = (index: number, stage: number): void => {
    const nodes = demands[stage]?.nodes;
    if (nodes === undefined || nodes.has(index)) return;
    nodes.add(index);
    for (const input of graph.nodes[index]?.inputs ?? []) need(input, stage);
  };
  const need = (value: ValueId, stage: number): void => {
    const demand = demands[stage];
    if (demand === undefined) throw new MerakError('plan/invalid', `there is no stage ${stage}`);
    const source = producer[value] ?? -1;
    if (source < 0) {
      (fields.has(value) ? demand.fields : parameters.has(value) ? demand.parameters : demand.constants).add(value);
      return;
    }
    const home = stageOfNode[source] ?? 0;
    const node = graph.nodes[source];
    if (classOf[source] === 'duplicable' || home === stage || (home < stage && node !== undefined && isAlias(node))) {
      addNode(source, stage);
    } else if (home > stage) {
      throw new MerakError('plan/invalid', `stage ${stage} reads a value of ${node?.kernel} on stage ${home}`, {
        ...(node?.scope ? { path: node.scope } : {}),
      });
    } else if (!demand.received.has(value)) {
      demand.received.add(value);
      need(value, stage - 1);
    }
  };

  graph.nodes.forEach((_, index) => {
    if (classOf[index] !== 'duplicable') addNode(index, stageOfNode[index] ?? 0);
  });
  for (const output of graph.outputs) need(output.value, numStages - 1);
  graph.updates.forEach((update, index) => {
    const source = producer[update.value] ?? -1;
    const stage = source >= 0 && classOf[source] !== 'duplicable' ? (stageOfNode[source] ?? 0) : 0;
    need(update.value, stage);
    demands[stage]?.updates.add(index);
    const parameter = graph.parameters[update.parameter]?.value;
    if (parameter !== undefined) demands[stage]?.parameters.add(parameter);
  });
  return demands;
}

function buildStage(graph: Graph, demand: Demand, next: Demand | undefined, stage: number): Stage {
  const values: Value[] = [];
  const local = new Map<ValueId, ValueId>();
  const adopt = (id: ValueId): ValueId => {
    const known = local.get(id);
    if (known !== undefined) return known;
    const value = graph.values[id];
    if (value === undefined) throw new MerakError('plan/invalid', `the graph has no value ${id}`);
    local.set(id, values.length);
    values.push(value);
    return values.length - 1;
  };
  const fields = graph.inputs.filter((input) => demand.fields.has(input.value));
  const received = ascending(demand.received);
  const inputs = [
    ...fields.map((input) => ({ name: input.name, value: adopt(input.value) })),
    ...received.map((value, k) => ({ name: `received/${k}`, value: adopt(value) })),
  ];
  const parameterOf = graph.parameters.flatMap((parameter, index) =>
    demand.parameters.has(parameter.value) ? [index] : [],
  );
  const parameters = graph.parameters
    .filter((parameter) => demand.parameters.has(parameter.value))
    .map((parameter) => ({ ...parameter, value: adopt(parameter.value) }));
  const constants = graph.constants
    .filter((constant) => demand.constants.has(constant.value))
    .map((constant) => ({ ...constant, value: adopt(constant.value) }));
  const nodes = ascending(demand.nodes).map((index): Node => {
    const node = graph.nodes[index];
    if (node === undefined) throw new MerakError('plan/invalid', `the graph has no node ${index}`);
    return { ...node, inputs: node.inputs.map(adopt), outputs: node.outputs.map(adopt) };
  });
  const outputs =
    next === undefined
      ? graph.outputs.map((output) => ({ name: output.name, value: adopt(output.value) }))
      : ascending(next.received).map((value, k) => ({ name: `sent/${k}`, value: adopt(value) }));
  const updates = graph.updates.flatMap((update, index) => {
    if (!demand.updates.has(index)) return [];
    return [{ parameter: parameterOf.indexOf(update.parameter), value: adopt(update.value) }];
  });
  return { stage, graph: { values, nodes, inputs, parameters, constants, outputs, updates }, parameterOf };
}

function ascending(set: ReadonlySet<number>): number[] {
  return [...set].sort((a, b) => a - b);
}
