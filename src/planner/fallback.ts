/** Kernels the native engine lacks: naming them, and cutting a graph so that everything else still runs there. */
import type { Graph, GraphConstant, Node, ValueId } from '../graph/graph.js';
import type { Plan } from '../plan/plan.js';

/** Kernels in the plan's programs that are not among `known`, sorted. */
export function missingKernels(plan: Plan, known: ReadonlySet<string>): string[] {
  const missing = new Set<string>();
  for (const { executables } of plan.ranks) {
    for (const { programs } of executables) {
      for (const { nodes } of programs) {
        for (const { kernel } of nodes) if (!known.has(kernel)) missing.add(kernel);
      }
    }
  }
  return [...missing].sort();
}

/** A part of a graph for one executor. Values keep the ids of the whole graph, and cross parts under `valueName`. */
export type Part =
  | { readonly kind: 'native'; readonly graph: Graph }
  | { readonly kind: 'host'; readonly node: Node; readonly inputs: readonly ValueId[] };

export interface PartitionedGraph {
  /** In order of execution. */
  readonly parts: readonly Part[];
  /** Value of each output of the whole graph. */
  readonly outputs: Graph['outputs'];
  readonly updates: Graph['updates'];
}

export function valueName(id: ValueId): string {
  return `value/${id}`;
}

/**
 * As few native parts as the order of the host nodes allows. Inputs, parameters and constants are values like any others:
 * whoever runs the parts provides them.
 */
export function partitionGraph(graph: Graph, isHost: (node: Node) => boolean): PartitionedGraph {
  // A native node of level n runs after the host nodes below n; a host node of level n after the native ones of level n.
  const levelOf = new Map<ValueId, { level: number; host: boolean }>();
  const levels: { native: Node[]; host: Node[] }[] = [];
  for (const node of graph.nodes) {
    const host = isHost(node);
    const level = Math.max(
      0,
      ...node.inputs.map((id) => {
        const made = levelOf.get(id);
        return made === undefined ? 0 : made.level + (made.host && !host ? 1 : 0);
      }),
    );
    while (levels.length <= level) levels.push({ native: [], host: [] });
    levels[level]![host ? 'host' : 'native'].push(node);
    for (const id of node.outputs) levelOf.set(id, { level, host });
  }
  const wanted = new Set([...graph.outputs, ...graph.updates].map(({ value }) => value));
  const constants = new Map(graph.constants.map((constant) => [constant.value, constant]));
  const parts = levels.flatMap(({ native, host }): Part[] => [
    ...(native.length === 0
      ? []
      : [
          {
            kind: 'native' as const,
            graph: nativePart(graph, native, constants, neededOutside(graph, native, wanted)),
          },
        ]),
    ...host.map((node) => ({ kind: 'host' as const, node, inputs: node.inputs })),
  ]);
  return { parts, outputs: graph.outputs, updates: graph.updates };
}

function neededOutside(graph: Graph, nodes: readonly Node[], wanted: ReadonlySet<ValueId>): Set<ValueId> {
  const inside = new Set(nodes);
  const needed = new Set(wanted);
  for (const node of graph.nodes) if (!inside.has(node)) for (const id of node.inputs) needed.add(id);
  return needed;
}

function nativePart(
  graph: Graph,
  nodes: readonly Node[],
  constants: ReadonlyMap<ValueId, GraphConstant>,
  needed: ReadonlySet<ValueId>,
): Graph {
  const made = new Set(nodes.flatMap(({ outputs }) => outputs));
  const read = [...new Set(nodes.flatMap(({ inputs }) => inputs))].filter((id) => !made.has(id));
  return {
    values: graph.values,
    nodes,
    inputs: read.filter((id) => !constants.has(id)).map((value) => ({ name: valueName(value), value })),
    parameters: [],
    constants: read.flatMap((id) => constants.get(id) ?? []),
    outputs: [...made].filter((id) => needed.has(id)).map((value) => ({ name: valueName(value), value })),
    updates: [],
  };
}
