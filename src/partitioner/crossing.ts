/** What would have to be sent at each place a graph could be cut. */

import { valueBytes } from '../graph/cost.js';
import type { Graph } from '../graph/graph.js';
import type { Classes } from './classify.js';
import { isAlias, producersOf, tensorType } from './producers.js';

/** At cut i, between `order[i - 1]` and `order[i]`: entries 0..order.length. */
export interface Crossing {
  /** Bytes of all values made before the cut and read after it. */
  readonly bytes: readonly number[];
  /** Bytes of the largest of them. */
  readonly largestBytes: readonly number[];
}

/** Batch fields, parameters, constants and what may be repeated cost nothing; a reshaped view counts as its source. */
export function crossingBytes(graph: Graph, classes: Classes, order: readonly number[]): Crossing {
  const producer = producersOf(graph);
  const root = graph.values.map((_, value) => value);
  for (const node of graph.nodes) {
    if (isAlias(node)) root[node.outputs[0] ?? 0] = root[node.inputs[0] ?? 0] ?? 0;
  }
  const position = new Int32Array(graph.nodes.length);
  order.forEach((node, at) => {
    position[node] = at;
  });
  const lastUse = new Int32Array(graph.values.length).fill(-1);
  const use = (value: number, at: number) => {
    const source = root[value] ?? value;
    lastUse[source] = Math.max(lastUse[source] ?? -1, at);
  };
  graph.nodes.forEach((node, index) => {
    for (const input of node.inputs) use(input, position[index] ?? 0);
  });
  for (const output of graph.outputs) use(output.value, order.length);

  const starts: number[][] = Array.from({ length: order.length + 1 }, () => []);
  graph.values.forEach((_, value) => {
    const source = producer[value] ?? -1;
    if (source < 0 || classes.classOf[source] === 'duplicable' || root[value] !== value) return;
    starts[(position[source] ?? 0) + 1]?.push(value);
  });
  const bytes: number[] = [];
  const largestBytes: number[] = [];
  let live: { readonly bytes: number; readonly until: number }[] = [];
  for (let cut = 0; cut <= order.length; cut++) {
    for (const value of starts[cut] ?? []) {
      live.push({ bytes: valueBytes(tensorType(graph, value)), until: lastUse[value] ?? -1 });
    }
    live = live.filter((value) => value.until >= cut);
    bytes.push(live.reduce((sum, value) => sum + value.bytes, 0));
    largestBytes.push(live.reduce((largest, value) => Math.max(largest, value.bytes), 0));
  }
  return { bytes, largestBytes };
}
