/** The paper's graph sharding (merak.md 1.3) on our graphs, as a reference: a chain cut where one tensor crosses. */
import { numElements } from '../../src/graph/cost.js';
import type { Graph } from '../../src/graph/graph.js';
import { type Classes, classifyNodes } from '../../src/partitioner/classify.js';
import { cuttingOrder } from '../../src/partitioner/order.js';
import { consumersOf, producersOf } from '../../src/partitioner/producers.js';

const WIDE_USERS = 5;

export interface PaperShards {
  /** Nodes in the order of cutting that count (repeatable ones apart), and the shard of each. */
  readonly order: readonly number[];
  readonly shard: readonly number[];
  /** Values with more than five users may cross any cut. */
  readonly isWide: (value: number) => boolean;
}

/** `shardCount` is the target: 2 L + 4 in Merak. */
export function farthestMinDeps(graph: Graph, shardCount: number): PaperShards {
  const classes = classifyNodes(graph);
  const producer = producersOf(graph);
  const consumers = consumersOf(graph);
  const order = cuttingOrder(graph, classes).filter((node) => classes.classOf[node] === 'anchored');
  const position = new Map(order.map((node, at) => [node, at]));
  const isWide = (value: number) => (consumers[value] ?? []).length > WIDE_USERS;
  const weights = order.map((node) => weightOf(graph, classes, node));
  const total = weights.reduce((sum, { elements, embeds }) => sum + (embeds ? 0 : elements), 0);
  const target = total / shardCount;
  const shard: number[] = [];
  const boundary = new Map<number, number>();
  let current = 0;
  order.forEach((node, at) => {
    let [low, anchor] = [current, -1];
    for (const value of graph.nodes[node]!.inputs) {
      const made = position.get(producer[value] ?? -1);
      if (made === undefined || isWide(value)) continue;
      const of = shard[made]!;
      if (boundary.get(of) === made) {
        if (of !== current - 1 && of + 1 < low) [low, anchor] = [of + 1, made];
      } else if (made !== at - 1 && of < low) [low, anchor] = [of, made];
    }
    if (low < current) {
      for (let back = at - 1; back > anchor; back--) shard[back] = Math.min(shard[back]!, low);
      current = low;
      boundary.delete(low);
    }
    shard[at] = current;
    const weight = shard.reduce((sum, one, i) => (one === current ? sum + share(weights[i]!, target) : sum), 0);
    if (weight > target && !weights[at]!.embeds) {
      boundary.set(current, at);
      for (const later of [...boundary.keys()]) if (later > current) boundary.delete(later);
      current++;
    }
  });
  return { order, shard, isWide };
}

/** An embedding always over-fills its shard. */
function share({ elements, embeds }: ReturnType<typeof weightOf>, target: number): number {
  return embeds ? target + 1 : elements;
}

function weightOf(graph: Graph, classes: Classes, index: number): { elements: number; embeds: boolean } {
  const node = graph.nodes[index]!;
  const parameters = new Set(node.inputs.flatMap((input) => classes.parametersBehind[input] ?? []));
  const elements = [...parameters].reduce((sum, p) => {
    const value = graph.values[graph.parameters[p]!.value]!;
    return sum + numElements(value.shape);
  }, 0);
  return { elements, embeds: node.kernel === 'MerakEmbedding' || node.kernel === 'GatherV2' };
}
