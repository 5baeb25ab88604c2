/** The order in which a graph is cut: the traced order, with what may move put where it belongs. */
import type { Graph } from '../graph/graph.js';
import type { Classes } from './classify.js';
import { consumersOf, producersOf } from './producers.js';

/**
 * Node indices in a topological order in which a reduction over parameters follows the first use of those parameters,
 * a state update (batch-norm statistics) follows what it reads, and what may be repeated precedes its first reader.
 */
export function cuttingOrder(graph: Graph, classes: Classes): number[] {
  const producer = producersOf(graph);
  const consumers = consumersOf(graph);
  const onlyUpdates = nodesForUpdatesOnly(graph, producer);
  const key: number[] = graph.nodes.map((_, index) => index);

  graph.nodes.forEach((node, index) => {
    if (onlyUpdates[index] && classes.classOf[index] === 'anchored') {
      const sources = node.inputs.map((input) => producer[input] ?? -1);
      const anchored = sources.filter((source) => source >= 0 && classes.classOf[source] === 'anchored');
      if (anchored.length > 0) key[index] = Math.max(...anchored.map((source) => key[source] ?? 0)) + 0.25;
    }
  });
  for (let index = graph.nodes.length - 1; index >= 0; index--) {
    if (classes.classOf[index] !== 'duplicable') continue;
    const readers = (graph.nodes[index]?.outputs ?? []).flatMap((output) => consumers[output] ?? []);
    if (readers.length > 0) key[index] = Math.min(...readers.map((reader) => key[reader] ?? index)) - 0.01;
  }
  const firstUse = firstUses(graph, classes);
  graph.nodes.forEach((node, index) => {
    if (classes.classOf[index] !== 'reduction') return;
    const uses = (classes.parametersBehind[node.outputs[0] ?? -1] ?? []).map((p) => firstUse[p] ?? -1);
    if (uses.length > 0 && uses.every((use) => use >= 0)) key[index] = Math.max(...uses) + 0.5;
  });
  // Never before what it reads: then sorting by (key, index) is topological.
  graph.nodes.forEach((node, index) => {
    for (const input of node.inputs) {
      const source = producer[input] ?? -1;
      if (source >= 0) key[index] = Math.max(key[index] ?? index, key[source] ?? 0);
    }
  });
  return graph.nodes.map((_, index) => index).sort((a, b) => (key[a] ?? 0) - (key[b] ?? 0) || a - b);
}

function nodesForUpdatesOnly(graph: Graph, producer: Int32Array): boolean[] {
  const reaches = (roots: readonly number[]): boolean[] => {
    const wanted = graph.nodes.map(() => false);
    const mark = (value: number) => {
      const source = producer[value] ?? -1;
      if (source >= 0) wanted[source] = true;
    };
    roots.forEach(mark);
    for (let index = graph.nodes.length - 1; index >= 0; index--) {
      if (wanted[index]) graph.nodes[index]?.inputs.forEach(mark);
    }
    return wanted;
  };
  const outputs = reaches(graph.outputs.map((output) => output.value));
  return reaches(graph.updates.map((update) => update.value)).map((wanted, index) => wanted && !outputs[index]);
}

/** Per parameter: the first anchored node that reads it, directly or through parameter-only nodes; -1 if none. */
function firstUses(graph: Graph, classes: Classes): number[] {
  const first = graph.parameters.map(() => -1);
  graph.nodes.forEach((node, index) => {
    if (classes.classOf[index] !== 'anchored') return;
    for (const input of node.inputs) {
      for (const parameter of classes.parametersBehind[input] ?? []) {
        if (first[parameter] === -1) first[parameter] = index;
      }
    }
  });
  return first;
}
