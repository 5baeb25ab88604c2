/** Rewriting a graph node by node: what every pass is made of. */
import type { Attrs, Graph, GraphConstant, Node, Value, ValueId } from '../graph.js';
import { type GraphView, viewGraph } from './view.js';

/** Tells a rule what is around a node, and takes the nodes it wants in its place. */
export interface Rewriter {
  /** The graph as it was before this pass. Ids found in it may be used as inputs of emitted nodes. */
  readonly view: GraphView;
  /** Puts a node in front of the matched one, in its scope; returns its output ids. */
  emit(kernel: string, inputs: Readonly<Record<string, ValueId>>, attrs: Attrs, outputs: readonly Value[]): ValueId[];
  /** `emit` of a kernel with one output. */
  emitOne(kernel: string, inputs: Readonly<Record<string, ValueId>>, attrs: Attrs, output: Value): ValueId;
  addConstant(value: Value, data: GraphConstant['data']): ValueId;
  /** The value that now stands for `id`, after the rewrites so far. */
  resolve(id: ValueId): ValueId;
}

/** The values that take the place of the node's outputs, or null to leave the node as it is. */
export type Rule = (node: Node, rewriter: Rewriter) => readonly ValueId[] | null;

/** Applies a rule to every node in order. Leaves dead what the replaced nodes fed on; the same graph when nothing matches. */
export function rewriteGraph(graph: Graph, rule: Rule): Graph {
  const values: Value[] = [...graph.values];
  const constants: GraphConstant[] = [...graph.constants];
  const nodes: Node[] = [];
  const replacedBy = new Map<ValueId, ValueId>();
  const resolve = (id: ValueId): ValueId => replacedBy.get(id) ?? id;
  const view = viewGraph(graph);
  let matched = false;

  for (const node of graph.nodes) {
    const emitted: Node[] = [];
    const addValue = (value: Value): ValueId => values.push(value) - 1;
    const emit: Rewriter['emit'] = (kernel, inputs, attrs, outputs) => {
      const outputIds = outputs.map(addValue);
      emitted.push({
        kernel,
        inputs: Object.values(inputs).map(resolve),
        inputNames: Object.keys(inputs),
        outputs: outputIds,
        attrs,
        scope: node.scope,
        ...(node.source === undefined ? {} : { source: node.source }),
      });
      return outputIds;
    };
    const replacement = rule(node, {
      view,
      emit,
      emitOne: (kernel, inputs, attrs, output) => emit(kernel, inputs, attrs, [output])[0]!,
      addConstant(value, data) {
        const id = addValue(value);
        constants.push({ value: id, data });
        return id;
      },
      resolve,
    });
    if (replacement === null) {
      nodes.push(node.inputs.some((id) => replacedBy.has(id)) ? { ...node, inputs: node.inputs.map(resolve) } : node);
      continue;
    }
    matched = true;
    nodes.push(...emitted);
    node.outputs.forEach((id, index) => {
      replacedBy.set(id, resolve(replacement[index]!));
    });
  }
  if (!matched) return graph;
  const moved = <T extends { readonly value: ValueId }>(item: T): T => ({ ...item, value: resolve(item.value) });
  return { ...graph, values, nodes, constants, outputs: graph.outputs.map(moved), updates: graph.updates.map(moved) };
}
